# The first user space: it finds the root device and hands over. It is made on the host from Debian's static busybox and
# the modules that the machine needs to find its root device.

SUMMARY = "Initial RAM file system"
LICENSE = "Apache-2.0 & GPL-2.0-only"

SRC_URI = "apt-binary://busybox-static;suite=${DEBIAN_SUITE} file://init"
S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

INHIBIT_DEFAULT_DEPS = "1"
DEPENDS = "virtual/kernel"
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit nopackages deploy

do_compile[vardeps] += "INITRAMFS_MODULES"
do_compile[cleandirs] = "${B}"
do_compile[file-checksums] += "${TZML_LIB}/initramfs.py:True"
python do_compile() {
    tzmldebian.initramfs.make(d)
}

DEPLOY_ROLE[initrd] = "initramfs.cpio"
DEPLOY_LOAD_ADDRESS[initrd] = "${INITRD_ADDRESS}"
DEPLOY_ORIGIN = "this repository, with Debian's busybox-static and linux-image"
DEPLOY_VERSION = "${PV}"
do_deploy() {
    install -m 0644 ${B}/initramfs.cpio ${DEPLOYDIR}/
}

# Debian's stock kernel: the image for the boot loader, and the modules as a package of this build, without the
# maintainer scripts, which would build an initramfs under emulation.

SUMMARY = "Debian's Linux kernel"
HOMEPAGE = "https://www.kernel.org/"
LICENSE = "GPL-2.0-only"

# the meta-package, and the kernel on which it depends
SRC_URI = "apt-binary://linux-image-arm64;suite=${DEBIAN_SUITE};with=linux-image-*"

inherit debian-binary deploy

PROVIDES = "virtual/kernel"
PACKAGES = "kernel-modules"
SUMMARY:kernel-modules = "Modules of Debian's Linux kernel"
FILES:kernel-modules = "${nonarch_base_libdir}/modules"
FILES_TAKEN = "boot usr/lib"
INHIBIT_PACKAGE_STRIP = "1"
# the image is deployed, not installed
INSANE_SKIP = "installed-vs-shipped"
# initramfs takes its modules from here
SYSROOT_DIRS_IGNORE += "${datadir}/linux"
SYSROOT_DIRS_IGNORE:remove = "${nonarch_libdir}/modules"

do_install:append() {
    version=$(ls ${D}${nonarch_base_libdir}/modules)
    ln -s usr/lib ${D}/lib
    depmod --basedir ${D} "$version"
    rm ${D}/lib
    install -d ${D}${datadir}/linux
    mv ${D}/boot/vmlinuz-* ${D}${datadir}/linux/Image
    mv ${D}${nonarch_libdir}/linux-image-* ${D}${datadir}/linux/devicetree
    rm -r ${D}/boot
}

# the machine's device trees, with their folder
KERNEL_DEVICETREE ?= ""

DEPLOY_ROLE[kernel] = "Image"
DEPLOY_LOAD_ADDRESS[kernel] = "${KERNEL_ADDRESS}"
do_deploy() {
    install -m 0644 ${D}${datadir}/linux/Image ${DEPLOYDIR}/
    for tree in ${KERNEL_DEVICETREE}; do
        install -m 0644 ${D}${datadir}/linux/devicetree/$tree ${DEPLOYDIR}/
    done
    printf '{"kernel_release": "%s"}\n' "$(ls ${D}${nonarch_base_libdir}/modules)" >${DEPLOY_FACTS}
}

# A disk with Debian and IMAGE_INSTALL, and image.json, which describes everything that a machine needs to boot it.

LICENSE ?= "Apache-2.0"
SRC_URI = ""
PACKAGE_ARCH = "${MACHINE_ARCH}"
INHIBIT_DEFAULT_DEPS = "1"

inherit nopackages

deltask unpack
deltask patch
deltask fetch
deltask configure
deltask compile
deltask install
deltask populate_lic
deltask populate_sysroot
deltask prepare_recipe_sysroot

IMAGE_INSTALL ?= ""
# The contents of every image of this feed, in addition to the product's.
IMAGE_FEED_INSTALL ?= "debian-config grow-root kernel-modules optee-test tzml-serve"
IMAGE_INSTALL:append = " ${IMAGE_FEED_INSTALL}"
IMAGE_FEATURES ?= ""
IMAGE_LINGUAS ?= ""
RDEPENDS += "${IMAGE_INSTALL}"

IMAGE_ROOTFS = "${WORKDIR}/rootfs"
IMAGE_EXT4 = "${WORKDIR}/rootfs.ext4"
IMAGE_PACKAGE_LIST = "${WORKDIR}/packages.json"
# KiB of free space, in addition to the used space times the factor (which covers the file system itself)
IMAGE_ROOTFS_EXTRA_SPACE ?= "524288"
IMAGE_OVERHEAD_FACTOR ?= "1.1"
IMAGE_UUID = "745a6d6c-0000-4000-8000-000000000001"

ROOTFS_BASE = "${TMPDIR}/rootfs/debian-rootfs.tar.zst"
ROOTFS_BASE_PACKAGES = "${TMPDIR}/rootfs/debian-rootfs.json"
# Functions that change IMAGE_ROOTFS after the packages are installed.
ROOTFS_POSTPROCESS_COMMAND ?= ""
ROOTFS_POSTPROCESS_COMMAND:append = " tzml_authorize_key"

do_rootfs[doc] = "put Debian and IMAGE_INSTALL into IMAGE_ROOTFS"
do_rootfs[cleandirs] = "${IMAGE_ROOTFS}"
do_rootfs[depends] = "debian-rootfs:do_bootstrap"
do_rootfs[fakeroot] = "1"
do_rootfs[file-checksums] += "${SSH_KEY}.pub:True"
do_rootfs[recrdeptask] = "do_package_qa do_package_write_deb"
do_rootfs[vardeps] += "${ROOTFS_POSTPROCESS_COMMAND}"
do_rootfs[file-checksums] += "${TZML_LIB}/rootfs.py:True ${TZML_LIB}/provenance.py:True"
python do_rootfs() {
    tzmldebian.rootfs.assemble(d)
    for command in d.getVar("ROOTFS_POSTPROCESS_COMMAND").replace(";", " ").split():
        bb.build.exec_func(command, d)
}
addtask rootfs before do_image

tzml_authorize_key() {
    install -d -m 0700 ${IMAGE_ROOTFS}/root/.ssh
    install -m 0600 ${SSH_KEY}.pub ${IMAGE_ROOTFS}/root/.ssh/authorized_keys
}

do_image[doc] = "make the disk of IMAGE_ROOTFS"
do_image[fakeroot] = "1"
do_image[file-checksums] += "${TZML_LIB}/rootfs.py:True ${TZML_LIB}/optee.py:True ${TZML_LIB}/measure.py:True"
# the TA whose memory OP-TEE's attestation is expected to measure, by its UUID: tzml's
IMAGE_MEASURED_TA ?= "bcfd5ae6-ea1e-4018-a5d9-7673b6e2e51f"
python do_image() {
    tzmldebian.optee.measure_ta(d)
    tzmldebian.rootfs.make_ext4(d)
}
addtask image after do_rootfs before do_deploy

python () {
    tzmldebian.release.check(d)
}

inherit deploy
inherit ${IMAGE_CLASSES}
DEPLOY_COMPONENT = "debian"
DEPLOY_VERSION = "${DEBIAN_SUITE}"
DEPLOY_ORIGIN = "Debian ${DEBIAN_SUITE}"
DEPLOY_ROLE[package-list] = "packages.json"
DEPLOY_ROLE[ssh-key] = "ssh_ed25519"
do_deploy[dirs] = "${DEPLOYDIR}"
do_deploy() {
    # moved, because the disk is the largest file, and whoever boots it may write to it
    mv ${IMAGE_DISKS} ${DEPLOYDIR}/
    install -m 0644 ${IMAGE_PACKAGE_LIST} ${DEPLOYDIR}/
    install -m 0600 ${SSH_KEY} ${DEPLOYDIR}/ssh_ed25519
    install -m 0644 ${SSH_KEY}.pub ${DEPLOYDIR}/ssh_ed25519.pub
}
addtask deploy after do_image before do_image_complete

do_image_complete[doc] = "write image.json"
# the components in image.json: what the machine boots, and what its image is tested with
IMAGE_COMPONENTS = "${EXTRA_IMAGEDEPENDS} optee-test"
do_image_complete[depends] = "${@' '.join(recipe + ':do_deploy' for recipe in d.getVar('IMAGE_COMPONENTS').split())}"
do_image_complete[vardeps] += "KERNEL_CMDLINE"
do_image_complete[file-checksums] += "${TZML_LIB}/imagejson.py:True"
python do_image_complete() {
    tzmldebian.imagejson.write(d)
}
addtask image_complete after do_deploy before do_build

do_lock_feed[doc] = "write down which files of Debian's archive this image is made of"
do_lock_feed[nostamp] = "1"
do_lock_feed[recideptask] = "do_build"
do_lock_feed[recrdeptask] = "do_fetch"
python do_lock_feed() {
    tzmldebian.feedlock.write(d)
}
addtask lock_feed

# The boot loader of the normal world from Debian's package. trusted-firmware-a packs it into the firmware.

SUMMARY = "Das U-Boot"
HOMEPAGE = "https://www.denx.de/wiki/U-Boot/"
LICENSE = "GPL-2.0-or-later"

COMPATIBLE_MACHINE = "qemu"
UBOOT_BINARY ?= ":"
UBOOT_PACKAGE = "${@d.getVar('UBOOT_BINARY').split(':')[0]}"
UBOOT_FILE = "${@d.getVar('UBOOT_BINARY').split(':')[1]}"
SRC_URI = "apt-binary://${UBOOT_PACKAGE};suite=${DEBIAN_SUITE}"

inherit debian-binary deploy

PACKAGE_ARCH = "${MACHINE_ARCH}"
FILES_TAKEN = "${UBOOT_FILE}"

do_install:append() {
    install -m 0644 ${S}/${UBOOT_FILE} ${D}${nonarch_libdir}/u-boot/u-boot.bin
}

# It is part of the firmware, so only its entry in image.json is deployed.
do_deploy() {
    :
}

# Broadcom's binaries, which the Raspberry Pi's VideoCore runs before the Arm cores start. They may be redistributed but
# used only on a Raspberry Pi. The card also contains their licence.

SUMMARY = "Boot firmware of the Raspberry Pi 3"
HOMEPAGE = "https://github.com/raspberrypi/firmware"
LICENSE = "Broadcom-RPi"
LIC_FILES_CHKSUM = "file://usr/share/doc/raspi-firmware/copyright;md5=478cbc52e3f7e7e4a8b249aa60ffe059"

SRC_URI = "apt-binary://raspi-firmware;suite=${DEBIAN_SUITE};component=non-free-firmware"

inherit debian-binary deploy

COMPATIBLE_MACHINE = "rpi3"
PACKAGE_ARCH = "${MACHINE_ARCH}"

# bootcode.bin is the first stage; start.elf with fixup.dat is the second, for a Pi 3 with a usual gpu_mem.
FILES_TAKEN = " \
    usr/lib/raspi-firmware/bootcode.bin \
    usr/lib/raspi-firmware/fixup.dat \
    usr/lib/raspi-firmware/start.elf \
    usr/share/doc/raspi-firmware/copyright \
"

do_deploy() {
    install -d ${DEPLOYDIR}/raspi-firmware
    install -m 0644 ${D}${nonarch_libdir}/raspi-firmware/* ${DEPLOYDIR}/raspi-firmware/
    install -m 0644 ${D}${docdir}/raspi-firmware/copyright ${DEPLOYDIR}/raspi-firmware/LICENCE.broadcom
}

# The boot loader of the HiKey's normal world, built from Debian's source, because Debian's package lacks this board.

SUMMARY = "Das U-Boot for the HiKey"
HOMEPAGE = "https://www.denx.de/wiki/U-Boot/"
LICENSE = "GPL-2.0-or-later"
LIC_FILES_CHKSUM = "file://Licenses/README;md5=2ca5f2c35c8cc335f0a19756634782f1"

SRC_URI = " \
    apt-source://u-boot;suite=${DEBIAN_SUITE};version=2025.01-3+deb13u1;otherwise=sid \
    file://hikey-fastboot-emmc-and-memory.patch \
    file://hikey.cfg \
"
S = "${UNPACKDIR}/source"
B = "${WORKDIR}/build"

INHIBIT_DEFAULT_DEPS = "1"
COMPATIBLE_MACHINE = "hikey"
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit nopackages deploy

EXTRA_OEMAKE = "-C ${S} O=${B} CROSS_COMPILE=${CROSS_COMPILE} HOSTCC=${BUILD_CC}"

do_configure[cleandirs] = "${B}"
do_configure() {
    oe_runmake hikey_defconfig
    cat ${UNPACKDIR}/hikey.cfg >>${B}/.config
    oe_runmake olddefconfig
    # Kconfig silently drops options that it does not know, or whose dependencies are missing
    grep CONFIG_ ${UNPACKDIR}/hikey.cfg | while read -r line; do
        grep -qxF -e "$line" ${B}/.config || die "hikey.cfg: U-Boot does not take $line"
    done
}

do_compile() {
    unset AR AS CC CFLAGS CPP CPPFLAGS LD LDFLAGS NM OBJCOPY OBJDUMP RANLIB READELF STRIP
    export KCFLAGS="-ffile-prefix-map=${S}=. -ffile-prefix-map=${B}=."
    oe_runmake u-boot.bin
}

do_install() {
    install -d ${D}${nonarch_libdir}/u-boot
    install -m 0644 ${B}/u-boot.bin ${D}${nonarch_libdir}/u-boot/
}

DEPLOY_COMPONENT = "u-boot"
do_deploy() {
    install -m 0644 ${B}/u-boot.bin ${DEPLOYDIR}/
}

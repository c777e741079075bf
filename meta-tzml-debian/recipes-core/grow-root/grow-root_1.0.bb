# Grows the root file system to the end of the card or eMMC that the image was written to.

SUMMARY = "Root file system as large as its card"
LICENSE = "Apache-2.0"

SRC_URI = "file://grow-root file://grow-root.service"
S = "${UNPACKDIR}"

inherit allarch systemd

do_install() {
    install -D -m 0755 ${S}/grow-root ${D}${libexecdir}/tzml/grow-root
    install -D -m 0644 ${S}/grow-root.service ${D}${systemd_system_unitdir}/grow-root.service
}

PACKAGES = "${PN}"
FILES:${PN} = "${libexecdir}/tzml"
SYSTEMD_SERVICE:${PN} = "grow-root.service"
RDEPENDS:${PN} = "fdisk mount systemd util-linux"

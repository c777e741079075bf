# tzml-serve: resident models over HTTP. Its unit is not enabled. It is in this layer because OE-core has no simdjson.

SUMMARY = "Inference server for tzml bundles"

require recipes-tzml/tzml-source.inc
SRC_URI += "file://host file://runtime/include"

DEPENDS = "gnutls libmicrohttpd simdjson tzml"

inherit systemd

EXTRA_OEMAKE = " \
    -C ${S}/host/serve \
    O=${B} \
    bindir=${bindir} \
    sysconfdir=${sysconfdir} \
    unitdir=${systemd_system_unitdir} \
"

do_compile[cleandirs] = "${B}"
do_compile() {
    oe_runmake
}

do_install() {
    oe_runmake install DESTDIR=${D}
}

SYSTEMD_SERVICE:${PN} = "tzml-serve.service"
SYSTEMD_AUTO_ENABLE:${PN} = "disable"
RDEPENDS:${PN} = "tzml"

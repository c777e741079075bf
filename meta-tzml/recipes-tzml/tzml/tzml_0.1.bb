# libtzml and tzml-run, which use models from the normal world.

SUMMARY = "Client library and command for the tzml Trusted Application"

require recipes-tzml/tzml-source.inc
SRC_URI += "file://host file://runtime file://ta/include"

DEPENDS = "openssl optee-client"

EXTRA_OEMAKE = " \
    -C ${S}/host \
    O=${B} \
    bindir=${bindir} \
    includedir=${includedir} \
    libdir=${libdir} \
"

do_compile[cleandirs] = "${B}"
do_compile() {
    oe_runmake
}

do_install() {
    oe_runmake install DESTDIR=${D}
}

RDEPENDS:${PN} = "optee-client"

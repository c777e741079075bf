# Programs that test the product on the device.

SUMMARY = "Tests of the tzml Trusted Application"

require recipes-tzml/tzml-source.inc
SRC_URI += "file://tests/target file://runtime/include file://ta/include"

DEPENDS = "optee-client"

EXTRA_OEMAKE = "-C ${S}/tests/target O=${B} bindir=${bindir}"

do_compile[cleandirs] = "${B}"
do_compile() {
    oe_runmake
}

do_install() {
    oe_runmake install DESTDIR=${D}
}

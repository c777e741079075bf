# The Python package, as far as a device needs it: the compiler stays on the build host.

SUMMARY = "Run tzml bundles from Python"

require recipes-tzml/tzml-source.inc
SRC_URI += "file://py/tzml file://host/include/tzml.h"

inherit allarch python3-dir

do_install() {
    package=${D}${PYTHON_SITEPACKAGES_DIR}/tzml
    install -d $package/bundle $package/cli $package/client ${D}${bindir}
    install -m 0644 ${S}/py/tzml/*.py $package/
    for part in bundle cli client; do
        install -m 0644 ${S}/py/tzml/$part/*.py $package/$part/
    done
    install -m 0644 ${S}/host/include/tzml.h $package/client/
    printf '#!/usr/bin/python3\nfrom tzml.cli import main\n\nmain()\n' > ${D}${bindir}/tzml
    chmod 0755 ${D}${bindir}/tzml
}

FILES:${PN} = "${PYTHON_SITEPACKAGES_DIR} ${bindir}/tzml"
RDEPENDS:${PN} = "python3-apache-tvm-ffi python3-cffi python3-click python3-core python3-numpy tzml"

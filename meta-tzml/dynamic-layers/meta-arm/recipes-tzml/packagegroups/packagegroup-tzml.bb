# The product in parts, for images of others.

SUMMARY = "tzml: networks inside OP-TEE"
LICENSE = "Apache-2.0"

# the TA and the bundles are for one machine
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit packagegroup

PACKAGES = "${PN} ${PN}-python ${PN}-test"

SUMMARY:${PN} = "Trusted Application, client library, tzml-run, networks"
RDEPENDS:${PN} = "tzml tzml-board tzml-models tzml-ta"

SUMMARY:${PN}-python = "The command tzml, and Python's client"
RDEPENDS:${PN}-python = "python3-tzml"

SUMMARY:${PN}-test = "Tests on the device: of OP-TEE, of the Trusted Application, and of the client library"
RDEPENDS:${PN}-test = "optee-test tzml-ptest tzml-test"

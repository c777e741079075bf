# libtzml's own test on the device, for ptest-runner.

FILESEXTRAPATHS:prepend := "${THISDIR}/files:"
SRC_URI += "file://run-ptest"

inherit ptest

RDEPENDS:${PN}-ptest = "tzml-models tzml-test"

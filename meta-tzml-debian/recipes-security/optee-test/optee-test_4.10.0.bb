# OP-TEE's test suite: Debian's xtest, with its TAs signed again. Debian's TAs are signed with upstream's key, but this
# build's OP-TEE OS trusts only its own key.

SUMMARY = "OP-TEE test suite (xtest)"
HOMEPAGE = "https://www.op-tee.org/"
LICENSE = "BSD-2-Clause & GPL-2.0-only"

XTEST_PACKAGE = "optee-test-qemu"
SRC_URI = "apt-binary://${XTEST_PACKAGE};suite=${DEBIAN_OPTEE_SUITE};version=${PV}-1;onto=${DEBIAN_SUITE}:DEBIAN_OPTEE_PACKAGES"
S = "${UNPACKDIR}/root"
B = "${WORKDIR}/build"

DEPENDS = "optee-os-tadevkit"
INHIBIT_DEFAULT_DEPS = "1"
INHIBIT_PACKAGE_STRIP = "1"
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit python3native deploy

require recipes-core/debian-rootfs/debian-packages.inc
do_fetch[vardeps] += "DEBIAN_OPTEE_PACKAGES"

do_compile[cleandirs] = "${B}"
do_compile[file-checksums] += "${TA_SIGN_KEY}:True"
do_compile[file-checksums] += "${TZML_LIB}/optee.py:True"
python do_compile() {
    tzmldebian.optee.sign_again(d)
}

do_install() {
    install -d ${D}${bindir} ${D}${nonarch_base_libdir}/optee_armtz ${D}${nonarch_libdir}/tee-supplicant/plugins
    install -m 0755 ${S}${bindir}/xtest ${D}${bindir}/
    install -m 0444 ${B}/*.ta ${D}${nonarch_base_libdir}/optee_armtz/
    install -m 0755 ${S}${nonarch_libdir}/tee-supplicant/plugins/*.plugin ${D}${nonarch_libdir}/tee-supplicant/plugins/
}

PACKAGES = "${PN}"
FILES:${PN} = "${bindir} ${nonarch_base_libdir}/optee_armtz ${nonarch_libdir}/tee-supplicant"
RDEPENDS:${PN} = "libckteec0t64 libssl3t64 libteec2 tee-supplicant"
RPROVIDES:${PN} = "${XTEST_PACKAGE}"
RCONFLICTS:${PN} = "${XTEST_PACKAGE}"
RREPLACES:${PN} = "${XTEST_PACKAGE}"

DEPLOY_COMPONENT = "xtest"
do_deploy() {
    :
}

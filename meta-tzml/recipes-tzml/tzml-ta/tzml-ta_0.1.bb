# The Trusted Application, signed with the key that this image's OP-TEE OS trusts (TA_SIGN_KEY).

SUMMARY = "Trusted Application that runs neural networks"

require recipes-tzml/tzml-source.inc
SRC_URI += "file://ta file://runtime"

DEPENDS = "optee-os-tadevkit python3-cryptography-native"
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit python3native

# The kit has flags of its own, because flags for a user-space C library do not fit the TEE. It takes only the sysroot
# of us: there OE-core's compiler has its libgcc.
EXTRA_OEMAKE = " \
    -C ${S}/ta \
    CFG_TEE_TA_LOG_LEVEL=${OPTEE_LOG_LEVEL} \
    CFG_TZML_SEALED_ONLY=${TZML_SEALED_ONLY} \
    CFLAGS64=--sysroot=${STAGING_DIR_HOST} \
    CROSS_COMPILE=${HOST_PREFIX} \
    O=${B}/ta \
    PYTHON3=${PYTHON} \
    TA_DEV_KIT_DIR=${TA_DEV_KIT_DIR} \
    TA_SIGN_KEY=${TA_SIGN_KEY} \
"
# what the TA says on the secure console: from level 1 on, errors
OPTEE_LOG_LEVEL ?= "2"
# whether it refuses models that nobody sealed, as a release has to
TZML_SEALED_ONLY ?= "n"
TA_DEV_KIT_DIR ?= "${STAGING_INCDIR}/optee/export-user_ta"

do_compile[cleandirs] = "${B}"
do_compile[file-checksums] += "${TA_SIGN_KEY}:True"
do_compile() {
    unset CFLAGS CPPFLAGS LDFLAGS
    oe_runmake
}

do_install() {
    install -d ${D}${nonarch_base_libdir}/optee_armtz
    install -m 0444 ${B}/ta/*.ta ${D}${nonarch_base_libdir}/optee_armtz/
}

FILES:${PN} = "${nonarch_base_libdir}/optee_armtz"

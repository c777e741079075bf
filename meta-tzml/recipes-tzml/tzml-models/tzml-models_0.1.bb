# Networks compiled for this machine and signed with the key that its OP-TEE OS trusts.

SUMMARY = "Bundles of the networks tzml is tested with"

require recipes-tzml/tzml-source.inc
# Bundles have the names of the networks' files: float32 from ONNX, int8 from TFLite.
TZML_NETWORKS ?= "digits.onnx digits_int8.tflite"
# A folder with the bundles of these networks, compiled and signed elsewhere; empty: they are compiled here.
TZML_MODELS_DIR ?= ""
SRC_URI += "file://models/digits/digits.onnx file://models/digits/digits_int8.tflite"
SRC_URI += "file://py/tzml"

PACKAGE_ARCH = "${MACHINE_ARCH}"

export PYTHONDONTWRITEBYTECODE = "1"

do_compile[cleandirs] = "${B}"
do_compile[file-checksums] += "${TA_SIGN_KEY}:True"
do_compile[file-checksums] += "${@d.getVar('TZML_MODELS_DIR') + '/*.tzm:True' if d.getVar('TZML_MODELS_DIR') else ''}"
do_compile() {
    for network in ${TZML_NETWORKS}; do
        bundle=${network%.*}.tzm
        if [ -n "${TZML_MODELS_DIR}" ]; then
            [ -e ${TZML_MODELS_DIR}/$bundle ] || bbfatal "TZML_MODELS_DIR: there is no ${TZML_MODELS_DIR}/$bundle"
            cp ${TZML_MODELS_DIR}/$bundle ${B}/
            continue
        fi
        [ -x ${TZML_PYTHON} ] || bbfatal "there is no ${TZML_PYTHON} to compile networks: run tools/bootstrap, or name a folder of bundles in TZML_MODELS_DIR"
        PYTHONPATH=${S}/py ${TZML_PYTHON} -m tzml compile ${S}/models/digits/$network \
            --target ${TZML_TARGET} --sign-key ${TA_SIGN_KEY} -o ${B}/$bundle
    done
}

do_install() {
    install -d ${D}${datadir}/tzml/models
    install -m 0644 ${B}/*.tzm ${D}${datadir}/tzml/models/
}

FILES:${PN} = "${datadir}/tzml/models"

# Networks compiled for this machine and signed with the key that its OP-TEE OS trusts.

SUMMARY = "Bundles of the networks tzml is tested with"

require recipes-tzml/tzml-source.inc
# Bundles have the names of the networks' files: float32 from ONNX, int8 from TFLite.
TZML_NETWORKS ?= "digits.onnx digits_int8.tflite"
SRC_URI += "file://models/digits/digits.onnx file://models/digits/digits_int8.tflite"
SRC_URI += "file://py/tzml file://host/include/tzml.h"

# TVM, ONNX, tflite and their dependencies come with the build's Python (requirements.lock).
DEPENDS = "python3-apache-tvm-native python3-cryptography-native python3-onnx-native python3-tflite-native"
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit python3native

# The compiler's name for this machine, whose kernels are for the machine's processor.
TZML_TARGET ?= "${MACHINE}"

do_compile[cleandirs] = "${B}"
do_compile[file-checksums] += "${TA_SIGN_KEY}:True"
do_compile() {
    for network in ${TZML_NETWORKS}; do
        PYTHONPATH=${S}/py ${PYTHON} -m tzml compile ${S}/models/digits/$network \
            --target ${TZML_TARGET} --sign-key ${TA_SIGN_KEY} -o ${B}/${network%.*}.tzm
    done
}

do_install() {
    install -d ${D}${datadir}/tzml/models
    install -m 0644 ${B}/*.tzm ${D}${datadir}/tzml/models/
}

FILES:${PN} = "${datadir}/tzml/models"

# Tells the device about its own hardware: whether anything keeps the normal world out of OP-TEE's memory, and what
# OP-TEE's hardware unique key is. Without this file, `tzml run` warns of both.

SUMMARY = "Facts about this device for tzml"

require recipes-tzml/tzml-source.inc
SRC_URI += "file://py/tzml/__init__.py file://py/tzml/boards file://py/tzml/errors.py"

PACKAGE_ARCH = "${MACHINE_ARCH}"

SECURE_MEMORY_PROTECTED ?= "0"
SECURE_MEMORY_PROTECTED:qemuarm64-secureboot ?= "1"
# what OP-TEE's hardware unique key is: zero, test or hardware
OPTEE_HUK ?= "zero"

export PYTHONDONTWRITEBYTECODE = "1"

do_compile[cleandirs] = "${B}"
do_compile() {
    PYTHONPATH=${S}/py ${TZML_PYTHON} -m tzml.boards ${TZML_TARGET} ${SECURE_MEMORY_PROTECTED} ${OPTEE_HUK} >${B}/board.json
}

do_install() {
    install -d ${D}${datadir}/tzml
    install -m 0644 ${B}/board.json ${D}${datadir}/tzml/
}

FILES:${PN} = "${datadir}/tzml/board.json"

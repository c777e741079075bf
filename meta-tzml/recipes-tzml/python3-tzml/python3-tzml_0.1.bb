# The part of the Python package that a device needs. Compiler, reports and lab stay on the build host.

SUMMARY = "Run tzml bundles from Python"

require recipes-tzml/tzml-source.inc

# What `tzml run`, `tzml inspect`, `tzml libraries` and tzml.client import; tests/test_device_package.py compares
TZML_MODULES = " \
    __init__.py \
    __main__.py \
    bundle/__init__.py \
    bundle/bundle.py \
    bundle/checkpoint.py \
    bundle/container.py \
    bundle/content.py \
    bundle/format.py \
    bundle/identity.py \
    bundle/interface.py \
    bundle/memory.py \
    bundle/plan.py \
    bundle/protection.py \
    bundle/streaming.py \
    cli/__init__.py \
    cli/arrays.py \
    cli/device.py \
    cli/evaluate.py \
    cli/federate.py \
    cli/inspect.py \
    cli/libraries.py \
    cli/options.py \
    cli/postprocess.py \
    cli/preprocess.py \
    cli/program.py \
    cli/run.py \
    cli/serve.py \
    cli/train.py \
    cli/train_darknet.py \
    client/__init__.py \
    client/declarations.py \
    client/description.py \
    client/device.py \
    client/image.py \
    client/labels.py \
    client/libraries.py \
    client/library.py \
    client/model.py \
    client/stage.py \
    client/trainer.py \
    client/training.py \
    client/tvm_ffi.py \
    darknet/__init__.py \
    darknet/cfg.py \
    darknet/data.py \
    darknet/training.py \
    device.py \
    errors.py \
    federate/__init__.py \
    federate/device.py \
    federate/privacy.py \
    files.py \
    memory_map.py \
    metadata.py \
    preprocess.py \
    printable.py \
    protection.py \
"
SRC_URI += "${@' '.join('file://py/tzml/' + module for module in d.getVar('TZML_MODULES').split())}"

inherit allarch python3-dir

do_install() {
    package=${D}${PYTHON_SITEPACKAGES_DIR}/tzml
    for module in ${TZML_MODULES}; do
        install -D -m 0644 ${S}/py/tzml/$module $package/$module
    done
    install -d ${D}${bindir}
    printf '#!/usr/bin/python3\nfrom tzml.cli import main\n\nmain()\n' > ${D}${bindir}/tzml
    chmod 0755 ${D}${bindir}/tzml
}

FILES:${PN} = "${PYTHON_SITEPACKAGES_DIR} ${bindir}/tzml"
RDEPENDS:${PN} = "python3-apache-tvm-ffi python3-cffi python3-click python3-core python3-numpy tzml"

# Tensors shared between PyTorch, NumPy and others (DLPack), from PyPI's wheel for this release's Python 3.14.

SUMMARY = "TVM's foreign function interface for Python"
HOMEPAGE = "https://tvm.apache.org/ffi/"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://apache_tvm_ffi-${PV}.dist-info/licenses/LICENSE;md5=c16953895cf4b5a5334120ac9a33a789"

inherit pypi python3-dir

PYPI_PACKAGE = "apache-tvm-ffi"
WHEEL = "apache_tvm_ffi-${PV}-cp314-cp314-manylinux_2_24_aarch64.manylinux_2_28_aarch64.whl"
# the class knows the index's address, but only source archives; a wheel is unpacked as the ZIP archive that it is
PYPI_SRC_URI = "${@pypi_src_uri(d).rpartition('/source/')[0]}/cp314/a/${PYPI_PACKAGE}/${WHEEL};downloadfilename=${WHEEL}.zip;subdir=wheel"
SRC_URI[sha256sum] = "8d4a0f356bbc89a648841b8a913a98478a65dc006c05017ca80f539c35974d96"
S = "${UNPACKDIR}/wheel"

COMPATIBLE_HOST = "aarch64.*-linux"
INHIBIT_DEFAULT_DEPS = "1"

# Files for compiling extensions are useless on the target; `cpp` and lib/libtvm_ffi_testing.so are imported.
WHEEL_LEFT_OUT = "3rdparty cython include share src"

do_install() {
    install -d ${D}${PYTHON_SITEPACKAGES_DIR}
    cp -R --no-preserve=ownership ${S}/* ${D}${PYTHON_SITEPACKAGES_DIR}/
    for part in ${WHEEL_LEFT_OUT}; do
        rm -rf ${D}${PYTHON_SITEPACKAGES_DIR}/tvm_ffi/$part
    done
}

FILES:${PN} = "${PYTHON_SITEPACKAGES_DIR}"
RDEPENDS:${PN} = "libstdc++ python3-core python3-typing-extensions"
# its libraries are stripped, and were linked without OE's flags
INSANE_SKIP:${PN} = "already-stripped ldflags libdir"

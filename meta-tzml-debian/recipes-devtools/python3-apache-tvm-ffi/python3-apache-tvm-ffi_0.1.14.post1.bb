# Tensors shared between PyTorch, NumPy and others (DLPack), from PyPI's wheel, because Debian has no package.

SUMMARY = "TVM's foreign function interface for Python"
HOMEPAGE = "https://tvm.apache.org/ffi/"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://apache_tvm_ffi-${PV}.dist-info/licenses/LICENSE;md5=c16953895cf4b5a5334120ac9a33a789"

# for the target's Python (debian-packages.inc); requirements.lock has the same version for the host
WHEEL_PLATFORMS = "manylinux_2_24_aarch64,manylinux_2_28_aarch64"
SRC_URI = "pypi-wheel://apache-tvm-ffi;version=${PV};python=3.13;platform=${WHEEL_PLATFORMS};sha256sum=d6aebe30f21dcbd9e76c5aab56afe0fe228804a4ad73e413b067ae3d27e02f93"
S = "${UNPACKDIR}/wheel"

INHIBIT_DEFAULT_DEPS = "1"

inherit python3-dir

# Files for compiling extensions are useless on the target; `cpp` and lib/libtvm_ffi_testing.so are imported.
WHEEL_LEFT_OUT = "3rdparty cython include share src"

do_install() {
    install -d ${D}${PYTHON_SITEPACKAGES_DIR}
    cp -R --no-preserve=ownership ${S}/* ${D}${PYTHON_SITEPACKAGES_DIR}/
    for part in ${WHEEL_LEFT_OUT}; do
        rm -r ${D}${PYTHON_SITEPACKAGES_DIR}/tvm_ffi/$part
    done
}

FILES:${PN} = "${PYTHON_SITEPACKAGES_DIR}"
RDEPENDS:${PN} = "libstdc++6 python3 python3-typing-extensions"

# Where Debian's Python looks for modules that come in packages.

PYTHON_BASEVERSION = "3"
PYTHON_DIR = "python${PYTHON_BASEVERSION}"
PYTHON_PN = "python3"
PYTHON_SITEPACKAGES_DIR = "${nonarch_libdir}/python3/dist-packages"

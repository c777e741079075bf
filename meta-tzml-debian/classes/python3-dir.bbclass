# The folder in which Debian's Python finds modules from packages.

PYTHON_BASEVERSION = "3"
PYTHON_DIR = "python${PYTHON_BASEVERSION}"
PYTHON_PN = "python3"
PYTHON_SITEPACKAGES_DIR = "${nonarch_libdir}/python3/dist-packages"

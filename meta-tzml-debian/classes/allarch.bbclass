# Packages without compiled code.

PACKAGE_ARCH = "all"
INHIBIT_DEFAULT_DEPS = "1"
INHIBIT_PACKAGE_STRIP = "1"

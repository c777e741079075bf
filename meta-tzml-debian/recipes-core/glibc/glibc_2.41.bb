# The C library and kernel headers that the target has, to compile and link against.

SUMMARY = "Headers and libraries of Debian's C library"
HOMEPAGE = "https://www.gnu.org/software/libc/"
LICENSE = "LGPL-2.1-or-later"

SRC_URI = "apt-binary://libc6-dev;suite=${DEBIAN_SUITE};with=l*"

inherit debian-binary

PROVIDES = "virtual/libc"
FILES_TAKEN = "usr/include usr/lib"
# Converters and start files for other systems: nothing links against them.
SYSROOT_DIRS_IGNORE += "${libdir}/gconv ${libdir}/audit"

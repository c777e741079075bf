# The target's C library and kernel headers, for compiling and linking.

SUMMARY = "Headers and libraries of Debian's C library"
HOMEPAGE = "https://www.gnu.org/software/libc/"
LICENSE = "LGPL-2.1-or-later"

SRC_URI = "apt-binary://libc6-dev;suite=${DEBIAN_SUITE};with=l*"

inherit debian-binary

PROVIDES = "virtual/libc"
FILES_TAKEN = "usr/include usr/lib"
# Converters and start files for other systems, against which nothing links.
SYSROOT_DIRS_IGNORE += "${libdir}/gconv ${libdir}/audit"

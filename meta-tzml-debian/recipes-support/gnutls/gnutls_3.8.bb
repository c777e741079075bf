# libgnutls, its companions and headers, for compiling. The target has Debian's own packages.

SUMMARY = "Headers and libraries of GnuTLS"
HOMEPAGE = "https://www.gnutls.org/"
LICENSE = "LGPL-2.1-or-later"

SRC_URI = "apt-binary://libgnutls28-dev;suite=${DEBIAN_SUITE};with=libgnutls*"

inherit debian-binary

FILES_TAKEN = "usr/include usr/lib"

# libmicrohttpd and its headers, for compiling. The target has Debian's own packages.

SUMMARY = "Headers and libraries of libmicrohttpd"
HOMEPAGE = "https://www.gnu.org/software/libmicrohttpd/"
LICENSE = "LGPL-2.1-or-later"

SRC_URI = "apt-binary://libmicrohttpd-dev;suite=${DEBIAN_SUITE};with=libmicrohttpd*"

inherit debian-binary

FILES_TAKEN = "usr/include usr/lib"

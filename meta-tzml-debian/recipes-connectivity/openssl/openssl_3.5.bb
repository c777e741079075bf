# libcrypto, libssl and their headers, for compiling. The target has Debian's own packages.

SUMMARY = "Headers and libraries of OpenSSL"
HOMEPAGE = "https://www.openssl.org/"
LICENSE = "Apache-2.0"

SRC_URI = "apt-binary://libssl-dev;suite=${DEBIAN_SUITE};with=lib*"

inherit debian-binary

FILES_TAKEN = "usr/include usr/lib"

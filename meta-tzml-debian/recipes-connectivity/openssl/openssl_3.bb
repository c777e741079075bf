# libcrypto and its headers, to compile against. On the target it is Debian's own package.

SUMMARY = "Headers and libraries of OpenSSL"
HOMEPAGE = "https://www.openssl.org/"
LICENSE = "Apache-2.0"

SRC_URI = "apt-binary://libssl-dev;suite=${DEBIAN_SUITE};with=libssl*"

inherit debian-binary

FILES_TAKEN = "usr/include usr/lib"

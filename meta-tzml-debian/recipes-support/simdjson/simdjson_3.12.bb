# simdjson and its headers, for compiling. The target has Debian's own packages.

SUMMARY = "Headers and libraries of simdjson"
HOMEPAGE = "https://simdjson.org/"
LICENSE = "Apache-2.0"

SRC_URI = "apt-binary://libsimdjson-dev;suite=${DEBIAN_SUITE};with=libsimdjson*"

inherit debian-binary

FILES_TAKEN = "usr/include usr/lib"

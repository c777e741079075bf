# libteec, libckteec and their headers, for compiling. The target has Debian's own packages.

SUMMARY = "Headers and libraries of OP-TEE's user space"
HOMEPAGE = "https://www.op-tee.org/"
LICENSE = "BSD-2-Clause"

SRC_URI = "apt-binary://optee-client-dev;suite=${DEBIAN_OPTEE_SUITE};with=lib*"

inherit debian-binary

FILES_TAKEN = "usr/include usr/lib"

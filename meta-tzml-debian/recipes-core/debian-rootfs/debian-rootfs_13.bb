# Unmodified Debian: the packages below and their dependencies, installed by mmdebstrap. This takes minutes, mostly for
# package scripts under emulation, so the result is cached in TZML_CACHE under a digest of its inputs. It contains
# nothing of the product or of this build (keys, names); these are added with the image.

SUMMARY = "Debian 13 root file system"
HOMEPAGE = "https://www.debian.org/"
LICENSE = "MIT"

SRC_URI = " \
    apt-closure://debian-rootfs;suite=${DEBIAN_SUITE};packages=DEBIAN_PACKAGES;prefer=${DEBIAN_OPTEE_SUITE}:DEBIAN_OPTEE_PACKAGES \
    file://customize \
    file://setup \
"
S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

INHIBIT_DEFAULT_DEPS = "1"

inherit nopackages

require debian-packages.inc

do_fetch[vardeps] += "DEBIAN_OPTEE_PACKAGES DEBIAN_PACKAGES"

# It provides the dependencies of other recipes' packages, under Debian's name or OE-core's.
RPROVIDES:${PN} = "${DEBIAN_PACKAGES} ${@' '.join(name for name in (d.getVarFlags('DEBIAN_NAME') or {}) if name != 'doc')}"
PACKAGES = "${PN}"

# For image recipes: the archive, and the list of packages in it.
ROOTFS_BASE = "${TMPDIR}/rootfs/${PN}.tar.zst"
ROOTFS_BASE_PACKAGES = "${TMPDIR}/rootfs/${PN}.json"

do_take_rootfs[doc] = "take the archive from the cache that TZML_CACHE_MIRROR publishes, if it is there"
do_take_rootfs[network] = "1"
python do_take_rootfs() {
    tzmldebian.rootfscache.take(d)
}
addtask take_rootfs after do_unpack before do_bootstrap

do_bootstrap[doc] = "install Debian into an archive, or take it from TZML_CACHE"
do_bootstrap[fakeroot] = "1"
do_bootstrap[cleandirs] = "${B}"
do_bootstrap[dirs] = "${B}"
do_bootstrap[vardeps] += "SRC_URI"
do_bootstrap[file-checksums] += "${TZML_LIB}/bootstrap.py:True"
python do_bootstrap() {
    tzmldebian.bootstrap.bootstrap(d)
}
addtask bootstrap after do_unpack before do_build

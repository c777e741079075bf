# Divides the files in D among PACKAGES: each file goes to the first package whose FILES:<package> matches it.

PKGDEST = "${WORKDIR}/packages-split"
INHIBIT_PACKAGE_STRIP ?= ""
# checks that can be skipped: arch, buildpaths, installed-vs-shipped
INSANE_SKIP ?= ""

addtask package after do_install
do_package[cleandirs] = "${PKGDEST}"
do_package[vardeps] += "PACKAGES ${@' '.join('FILES:' + p for p in (d.getVar('PACKAGES') or '').split())}"
do_package[file-checksums] += "${TZML_LIB}/packages.py:True"
python package_do_package() {
    tzmldebian.packages.split(d)
}

# Checks the packages. Depends on the packages that they need, so that [recrdeptask] follows RDEPENDS to everything
# that an image installs.
addtask package_qa after do_package before do_build
do_package_qa[rdeptask] = "do_package"
do_package_qa[file-checksums] += "${TZML_LIB}/packages.py:True"
python package_do_package_qa() {
    tzmldebian.packages.check(d)
}

EXPORT_FUNCTIONS do_package do_package_qa

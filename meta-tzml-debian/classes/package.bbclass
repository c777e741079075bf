# Divides what do_install left in D among PACKAGES, by FILES:<package>, the first match first.

PKGDEST = "${WORKDIR}/packages-split"
INHIBIT_PACKAGE_STRIP ?= ""
# checks to leave out: arch, buildpaths, installed-vs-shipped
INSANE_SKIP ?= ""

addtask package after do_install
do_package[cleandirs] = "${PKGDEST}"
do_package[vardeps] += "PACKAGES ${@' '.join('FILES:' + p for p in (d.getVar('PACKAGES') or '').split())}"
do_package[file-checksums] += "${TZML_LIB}/packages.py:True"
python package_do_package() {
    tzmldebian.packages.split(d)
}

# Checks what is packaged. Depends on the packages that ours need, so that [recrdeptask] finds its way through
# RDEPENDS to all that an image installs.
addtask package_qa after do_package before do_build
do_package_qa[rdeptask] = "do_package"
do_package_qa[file-checksums] += "${TZML_LIB}/packages.py:True"
python package_do_package_qa() {
    tzmldebian.packages.check(d)
}

EXPORT_FUNCTIONS do_package do_package_qa

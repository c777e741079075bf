# Divides what do_install left in D among PACKAGES, by FILES:<package>, the first match first.

PKGDEST = "${WORKDIR}/packages-split"
INHIBIT_PACKAGE_STRIP ?= ""
INSANE_SKIP ?= ""

addtask package after do_install
do_package[cleandirs] = "${PKGDEST}"
do_package[vardeps] += "PACKAGES ${@' '.join('FILES:' + p for p in (d.getVar('PACKAGES') or '').split())}"
python package_do_package() {
    tzmldebian.packages.split(d)
}

EXPORT_FUNCTIONS do_package

# Makes a .deb for every package that has files or sets ALLOW_EMPTY:<package> = "1".

DEB_COMPONENT = "${DEPLOY_DIR_DEB}/${PACKAGE_ARCH}/${PN}"
DEB_BUILD_DIR = "${WORKDIR}/deploy-debs"
DEB_PACKAGE_VARS = "ALLOW_EMPTY CONFFILES DESCRIPTION PKG RCONFLICTS RDEPENDS RPROVIDES RREPLACES SUMMARY"

def tzml_package_vars(d):
    """The variables that determine the contents of a control file."""
    packages = (d.getVar("PACKAGES") or "").split()
    return " ".join(f"{name}:{package}" for name in d.getVar("DEB_PACKAGE_VARS").split() for package in packages)

addtask package_write_deb after do_package
do_package_write_deb[cleandirs] = "${DEB_BUILD_DIR}"
do_package_write_deb[vardeps] += "PACKAGES ${@tzml_package_vars(d)}"
do_package_write_deb[file-checksums] += "${TZML_LIB}/packages.py:True"
python package_deb_do_package_write_deb() {
    tzmldebian.packages.write_debs(d)
}

EXPORT_FUNCTIONS do_package_write_deb

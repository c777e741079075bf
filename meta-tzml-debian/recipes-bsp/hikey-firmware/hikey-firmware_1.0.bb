# Files that the HiKey's boot ROM and TF-A load: fip.bin and l-loader.bin, made from what was built and from the user's
# files (vendor-files.bbclass). What cannot be made without them is omitted, and image.json says what is missing.

SUMMARY = "Firmware of the HiKey"
# fip.bin and l-loader.bin contain files that the user supplied; HiSilicon's mcuimage.bin is not free
LICENSE = "BSD-3-Clause & BSD-2-Clause & GPL-2.0-or-later"

SRC_URI = ""
S = "${WORKDIR}/none"
B = "${WORKDIR}/build"

DEPENDS = "optee-os trusted-firmware-a u-boot-hikey"
INHIBIT_DEFAULT_DEPS = "1"
COMPATIBLE_MACHINE = "hikey"
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit nopackages deploy

do_compile[cleandirs] = "${B}"
do_compile[vardeps] += "VENDOR_FILES_FOUND"
do_compile[file-checksums] += "${TZML_LIB}/hikey.py:True ${TZML_LIB}/vendorfiles.py:True"
python do_compile() {
    tzmldebian.hikey.assemble(d)
}

DEPLOY_VERSION = "${PV}"
DEPLOY_ORIGIN = "this repository, with the files of ${VENDOR_FILES_VARIABLE}"
DEPLOY_ROLE[firmware] = "${@'fip.bin' if 'mcuimage.bin:' in d.getVar('VENDOR_FILES_FOUND') else ''}"
DEPLOY_ROLE[loader] = "${@'l-loader.bin' if 'l-loader.bin:' in d.getVar('VENDOR_FILES_FOUND') else ''}"
DEPLOY_ROLE[recovery] = "${@'recovery.bin' if 'l-loader.bin:' in d.getVar('VENDOR_FILES_FOUND') else ''}"
do_deploy[vardeps] += "VENDOR_FILES_FOUND"
python do_deploy() {
    import json, shutil
    build, target = d.getVar("B"), d.getVar("DEPLOYDIR")
    for name in os.listdir(build):
        shutil.copy(os.path.join(build, name), target)
    missing = tzmldebian.vendorfiles.missing(d)
    if missing:
        with open(os.path.join(target, "missing.txt"), "w") as stream:
            stream.write(tzmldebian.vendorfiles.text(missing, d.getVar("VENDOR_FILES_VARIABLE")) + "\n")
    with open(d.getVar("DEPLOY_FACTS"), "w") as stream:
        json.dump({"missing": missing}, stream)
}

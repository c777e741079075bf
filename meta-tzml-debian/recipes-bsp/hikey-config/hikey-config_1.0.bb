# Files that U-Boot reads from the eMMC's FAT partition in addition to kernel and initramfs: the boot menu, and Debian's
# device tree with an overlay that tells Linux about OP-TEE's memory.

SUMMARY = "Boot configuration of the HiKey"
LICENSE = "Apache-2.0"

SRC_URI = "file://extlinux.conf file://tzml-optee.dtso"
S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

INHIBIT_DEFAULT_DEPS = "1"
COMPATIBLE_MACHINE = "hikey"
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit nopackages deploy

HIKEY_CONFIG_VALUES = "KERNEL_CMDLINE OPTEE_TZDRAM_SIZE OPTEE_TZDRAM_START"

do_compile[cleandirs] = "${B}"
# Debian's device tree
do_compile[depends] = "linux:do_deploy"
do_compile[vardeps] += "${HIKEY_CONFIG_VALUES}"
do_compile[file-checksums] += "${TZML_LIB}/template.py:True"
python do_compile() {
    build = d.getVar("B")
    tzmldebian.template.fill(d, ["extlinux.conf", "tzml-optee.dtso"], d.getVar("HIKEY_CONFIG_VALUES").split())
    overlay = os.path.join(build, "tzml-optee")
    tree = os.path.join(d.getVar("DEPLOY_DIR_IMAGE"), os.path.basename(d.getVar("KERNEL_DEVICETREE")))
    run = tzmldebian.host.run
    run(["dtc", "-I", "dts", "-O", "dtb", "-o", f"{overlay}.dtbo", f"{overlay}.dtso"])
    run(["fdtoverlay", "-i", tree, "-o", os.path.join(build, "hi6220-hikey-optee.dtb"), f"{overlay}.dtbo"])
}

do_deploy() {
    install -m 0644 ${B}/extlinux.conf ${B}/hi6220-hikey-optee.dtb ${DEPLOYDIR}/
}

# What U-Boot reads from the eMMC's FAT partition, besides kernel and initramfs: the boot menu, and Debian's device
# tree with what Linux has to know of OP-TEE's memory.

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
python do_compile() {
    source, build = d.getVar("S"), d.getVar("B")
    for name in ("extlinux.conf", "tzml-optee.dtso"):
        with open(os.path.join(source, name)) as stream:
            text = stream.read()
        for value in d.getVar("HIKEY_CONFIG_VALUES").split():
            text = text.replace(f"@{value}@", d.getVar(value))
        with open(os.path.join(build, name), "w") as stream:
            stream.write(text)
    overlay = os.path.join(build, "tzml-optee")
    tree = os.path.join(d.getVar("DEPLOY_DIR_IMAGE"), os.path.basename(d.getVar("KERNEL_DEVICETREE")))
    run = tzmldebian.host.run
    run(["dtc", "-I", "dts", "-O", "dtb", "-o", f"{overlay}.dtbo", f"{overlay}.dtso"])
    run(["fdtoverlay", "-i", tree, "-o", os.path.join(build, "hi6220-hikey-optee.dtb"), f"{overlay}.dtbo"])
}

do_deploy() {
    install -m 0644 ${B}/extlinux.conf ${B}/hi6220-hikey-optee.dtb ${DEPLOYDIR}/
}

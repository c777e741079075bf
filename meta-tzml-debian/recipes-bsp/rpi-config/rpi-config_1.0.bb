# The text files on the card's first partition, and the device tree overlay that tells Linux about OP-TEE.

SUMMARY = "Boot configuration of the Raspberry Pi 3"
LICENSE = "Apache-2.0"

SRC_URI = "file://config.txt file://tzml-optee.dtso"
S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

INHIBIT_DEFAULT_DEPS = "1"
COMPATIBLE_MACHINE = "rpi3"
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit nopackages deploy

RPI_CONFIG_VALUES = "ARMSTUB_ADDRESS ARMSTUB_SIZE DEVICETREE_ADDRESS INITRD_ADDRESS KERNEL_ADDRESS TFA_BASE TFA_SIZE"

do_compile[cleandirs] = "${B}"
do_compile[vardeps] += "${RPI_CONFIG_VALUES}"
do_compile[file-checksums] += "${TZML_LIB}/template.py:True"
python do_compile() {
    build = d.getVar("B")
    tzmldebian.template.fill(d, ["config.txt", "tzml-optee.dtso"], d.getVar("RPI_CONFIG_VALUES").split())
    with open(os.path.join(build, "cmdline.txt"), "w") as stream:
        stream.write(d.getVar("KERNEL_CMDLINE") + "\n")
    overlay = os.path.join(build, "tzml-optee")
    tzmldebian.host.run(["dtc", "-I", "dts", "-O", "dtb", "-o", f"{overlay}.dtbo", f"{overlay}.dtso"])
}

do_deploy() {
    install -m 0644 ${B}/config.txt ${B}/cmdline.txt ${B}/tzml-optee.dtbo ${DEPLOYDIR}/
}

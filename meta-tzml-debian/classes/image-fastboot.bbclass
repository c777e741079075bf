# Images for the partitions of an eMMC, which fastboot writes: a FAT file system to boot from, the root file system in
# Android's sparse format, and the partition table. They replace the bare file system.
#
# IMAGE_BOOT_FILES   the FAT partition's files, as in OE-core's wic: `deployed` or `deployed;name-in-the-partition`
# EMMC_PARTITIONS    name:MiB:type for each partition, in order; `-` MiB means the rest
# EMMC_SECTORS       number of 512-byte sectors of the eMMC

IMAGE_BOOT_IMG = "${WORKDIR}/boot.img"
IMAGE_SYSTEM_IMG = "${WORKDIR}/system.img"
IMAGE_PTABLE_IMG = "${WORKDIR}/prm_ptable.img"
IMAGE_DISKS = "${IMAGE_BOOT_IMG} ${IMAGE_SYSTEM_IMG} ${IMAGE_PTABLE_IMG}"
IMAGE_BOOT_SIZE ?= "64"
# the serial number of the FAT file system, and the first part of the partitions' GUIDs
IMAGE_DISK_ID = "0x745a6d6c"

do_image_fastboot[doc] = "make images of the partitions, for fastboot"
do_image_fastboot[depends] = "${@' '.join(recipe + ':do_deploy' for recipe in d.getVar('EXTRA_IMAGEDEPENDS').split())}"
do_image_fastboot[file-checksums] += "${TZML_LIB}/emmc.py:True ${TZML_LIB}/fat.py:True"
do_image_fastboot[cleandirs] = "${WORKDIR}/boot"
python do_image_fastboot() {
    tzmldebian.emmc.make(d)
}
addtask image_fastboot after do_image before do_deploy

DEPLOY_ROLE[boot] = "boot.img"
DEPLOY_ROLE[partition-table] = "prm_ptable.img"
DEPLOY_ROLE[system] = "system.img"

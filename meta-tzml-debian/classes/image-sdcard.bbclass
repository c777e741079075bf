# The image of a complete SD card, with a FAT partition to boot from and the root file system, and its block map
# (bmaptool writes only the blocks that contain data). It replaces the bare file system.
#
# IMAGE_BOOT_FILES lists the FAT partition's files, as in OE-core's wic: `deployed` or `deployed;name-on-the-card`.

IMAGE_SDCARD = "${WORKDIR}/sdcard.img"
IMAGE_DISKS = "${IMAGE_SDCARD} ${IMAGE_SDCARD}.bmap"
# MiB of the FAT partition
IMAGE_BOOT_SIZE ?= "128"
IMAGE_DISK_ID = "0x745a6d6c"

do_image_sdcard[doc] = "make the SD card of the disk and IMAGE_BOOT_FILES"
do_image_sdcard[depends] = "${@' '.join(recipe + ':do_deploy' for recipe in d.getVar('EXTRA_IMAGEDEPENDS').split())}"
do_image_sdcard[file-checksums] += "${TZML_LIB}/fat.py:True ${TZML_LIB}/sdcard.py:True"
do_image_sdcard[cleandirs] = "${WORKDIR}/boot"
python do_image_sdcard() {
    tzmldebian.sdcard.make(d)
}
addtask image_sdcard after do_image before do_deploy

DEPLOY_ROLE[sdcard] = "sdcard.img"
DEPLOY_ROLE[sdcard-bmap] = "sdcard.img.bmap"

# The root file system on its own, as the disk of an emulator.

IMAGE_DISKS = "${IMAGE_EXT4}"
DEPLOY_ROLE[rootfs] = "rootfs.ext4"

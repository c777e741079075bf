# The root file system by itself, as an emulator's disk.

IMAGE_DISKS = "${IMAGE_EXT4}"
DEPLOY_ROLE[rootfs] = "rootfs.ext4"

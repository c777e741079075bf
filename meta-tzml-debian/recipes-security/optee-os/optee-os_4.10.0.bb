require optee-os.inc

OPTEE_VERSION = "4.10.0-2"
LIC_FILES_CHKSUM = "file://LICENSE;md5=c1f21c4f72f372ef38a5a4aee55ec173"
SRC_URI += " \
    file://check-buffers-region-by-region.patch \
    file://open-eight-blocks-of-gcm-at-once.patch \
    file://wipe-the-memory-of-tas.patch \
"

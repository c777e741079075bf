require trusted-firmware-a.inc

TFA_VERSION = "2.12.1+dfsg-1"
LIC_FILES_CHKSUM = "file://docs/license.rst;md5=83b7626b8c7a37263c6a58af8d19bee1"

# SPDX-License-Identifier: Apache-2.0
# The templates are those of the Debian feed. Addresses are those of TF-A's and OP-TEE's ports, as tzml_rpi3_defconfig
# gives them to both.
TZML_RPI3_BOOT_VERSION = $(TZML_RELEASE)
TZML_RPI3_BOOT_SOURCE =
TZML_RPI3_BOOT_LICENSE = Apache-2.0
TZML_RPI3_BOOT_LICENSE_FILES = LICENSE
TZML_RPI3_BOOT_INSTALL_TARGET = NO
TZML_RPI3_BOOT_INSTALL_IMAGES = YES
TZML_RPI3_BOOT_DEPENDENCIES = host-dtc
TZML_RPI3_BOOT_TEMPLATES = $(TZML_ROOT)/meta-tzml-debian/recipes-bsp/rpi-config/files
TZML_RPI3_BOOT_FILL = sed \
	-e 's/@ARMSTUB_ADDRESS@/0x0/' \
	-e 's/@ARMSTUB_SIZE@/0x00020000/' \
	-e 's/@DEVICETREE_ADDRESS@/0x01000000/' \
	-e 's/@INITRD_ADDRESS@/0x0c000000/' \
	-e 's/@KERNEL_ADDRESS@/0x02000000/' \
	-e 's/@TFA_BASE@/0x10000000/' \
	-e 's/@TFA_SIZE@/0x00100000/'

define TZML_RPI3_BOOT_EXTRACT_CMDS
	cp $(TZML_ROOT)/LICENSE $(@D)
endef

define TZML_RPI3_BOOT_BUILD_CMDS
	$(TZML_RPI3_BOOT_FILL) $(TZML_RPI3_BOOT_TEMPLATES)/config.txt >$(@D)/config.txt
	$(TZML_RPI3_BOOT_FILL) $(TZML_RPI3_BOOT_TEMPLATES)/tzml-optee.dtso >$(@D)/tzml-optee.dtso
	$(HOST_DIR)/bin/dtc -I dts -O dtb -o $(@D)/tzml-optee.dtbo $(@D)/tzml-optee.dtso
	echo 'console=ttyS1,115200 loglevel=6 earlycon' >$(@D)/cmdline.txt
endef

define TZML_RPI3_BOOT_INSTALL_IMAGES_CMDS
	$(INSTALL) -D -m 0644 -t $(BINARIES_DIR)/tzml-rpi3-boot $(@D)/config.txt $(@D)/cmdline.txt $(@D)/tzml-optee.dtbo
endef

$(eval $(generic-package))

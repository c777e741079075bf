# SPDX-License-Identifier: Apache-2.0
TZML_TA_VERSION = $(TZML_RELEASE)
TZML_TA_SOURCE =
TZML_TA_LICENSE = Apache-2.0
TZML_TA_LICENSE_FILES = LICENSE

TZML_TA_DEV_KIT = $(call qstrip,$(BR2_TZML_TA_DEV_KIT))
ifeq ($(TZML_TA_DEV_KIT),)
TZML_TA_DEV_KIT = $(OPTEE_OS_SDK)
TZML_TA_DEPENDENCIES = optee-os
endif

define TZML_TA_EXTRACT_CMDS
	cp $(TZML_ROOT)/LICENSE $(@D)
endef

# The kit has flags of its own: those for a user-space C library do not fit the TEE.
define TZML_TA_BUILD_CMDS
	$(MAKE) -C $(TZML_ROOT)/ta O=$(@D)/ta \
		CROSS_COMPILE=$(TARGET_CROSS) \
		PYTHON3=$(TZML_PYTHON) \
		TA_DEV_KIT_DIR=$(TZML_TA_DEV_KIT) \
		TA_SIGN_KEY=$(TZML_TA_SIGN_KEY)
endef

# tee-supplicant of Buildroot looks in /lib, Debian's in /usr/lib: with one /usr, that is the same folder
define TZML_TA_INSTALL_TARGET_CMDS
	$(INSTALL) -d $(TARGET_DIR)/lib/optee_armtz
	$(INSTALL) -m 0444 $(@D)/ta/*.ta $(TARGET_DIR)/lib/optee_armtz
endef

$(eval $(generic-package))

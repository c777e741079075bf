# SPDX-License-Identifier: Apache-2.0
TZML_TEE_CLIENT_DIR_ = $(call qstrip,$(BR2_PACKAGE_TZML_TEE_CLIENT_DIR))
TZML_TEE_CLIENT_VERSION = $(shell cat $(TZML_TEE_CLIENT_DIR_)/version 2>/dev/null)
TZML_TEE_CLIENT_SOURCE =
TZML_TEE_CLIENT_LICENSE = BSD-2-Clause
TZML_TEE_CLIENT_LICENSE_FILES = copyright
TZML_TEE_CLIENT_INSTALL_STAGING = YES

define TZML_TEE_CLIENT_EXTRACT_CMDS
	cp $(TZML_TEE_CLIENT_DIR_)/usr/share/doc/tee-supplicant/copyright $(@D)
endef

define TZML_TEE_CLIENT_INSTALL_STAGING_CMDS
	$(INSTALL) -D -m 0644 -t $(STAGING_DIR)/usr/include $(TZML_TEE_CLIENT_DIR_)/usr/include/*.h
	cp -d $(TZML_TEE_CLIENT_DIR_)/usr/lib/aarch64-linux-gnu/libteec.so* $(STAGING_DIR)/usr/lib
endef

define TZML_TEE_CLIENT_INSTALL_TARGET_CMDS
	cp -d $(TZML_TEE_CLIENT_DIR_)/usr/lib/aarch64-linux-gnu/libteec.so.* $(TARGET_DIR)/usr/lib
	$(INSTALL) -D -m 0755 $(TZML_TEE_CLIENT_DIR_)/usr/sbin/tee-supplicant $(TARGET_DIR)/usr/sbin/tee-supplicant
	$(INSTALL) -d -m 0700 $(TARGET_DIR)/var/lib/optee-client/data/tee
endef

define TZML_TEE_CLIENT_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(TZML_TEE_CLIENT_PKGDIR)/S30tee-supplicant $(TARGET_DIR)/etc/init.d/S30tee-supplicant
endef

$(eval $(generic-package))

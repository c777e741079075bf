# SPDX-License-Identifier: Apache-2.0
TZML_BOARD_VERSION = $(TZML_RELEASE)
TZML_BOARD_SOURCE =
TZML_BOARD_LICENSE = Apache-2.0
TZML_BOARD_LICENSE_FILES = LICENSE

define TZML_BOARD_EXTRACT_CMDS
	cp $(TZML_ROOT)/LICENSE $(@D)
endef

define TZML_BOARD_BUILD_CMDS
	$(TZML_PYTHON) -m tzml.boards $(TZML_TARGET) \
		$(if $(BR2_PACKAGE_TZML_BOARD_MEMORY_PROTECTED),1,0) \
		$(call qstrip,$(BR2_PACKAGE_TZML_BOARD_HUK)) >$(@D)/board.json
endef

define TZML_BOARD_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0644 $(@D)/board.json $(TARGET_DIR)/usr/share/tzml/board.json
endef

$(eval $(generic-package))

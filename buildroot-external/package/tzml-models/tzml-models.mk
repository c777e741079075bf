# SPDX-License-Identifier: Apache-2.0
TZML_MODELS_VERSION = $(TZML_RELEASE)
TZML_MODELS_SOURCE =
TZML_MODELS_LICENSE = Apache-2.0
TZML_MODELS_LICENSE_FILES = LICENSE

define TZML_MODELS_EXTRACT_CMDS
	cp $(TZML_ROOT)/LICENSE $(@D)
endef

# The compiler links kernels with the build host's own cross compiler: they are part of no C library.
define TZML_MODELS_BUILD_CMDS
	$(foreach network,$(call qstrip,$(BR2_PACKAGE_TZML_MODELS_NETWORKS)),
		$(TZML_PYTHON) -m tzml compile $(TZML_ROOT)/models/digits/$(network) \
			--target $(TZML_TARGET) --sign-key $(TZML_TA_SIGN_KEY) \
			-o $(@D)/$(basename $(network)).tzm
	)
endef

define TZML_MODELS_INSTALL_TARGET_CMDS
	$(INSTALL) -d $(TARGET_DIR)/usr/share/tzml/models
	$(INSTALL) -m 0644 $(@D)/*.tzm $(TARGET_DIR)/usr/share/tzml/models
endef

$(eval $(generic-package))

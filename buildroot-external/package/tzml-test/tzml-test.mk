# SPDX-License-Identifier: Apache-2.0
TZML_TEST_VERSION = $(TZML_RELEASE)
TZML_TEST_SOURCE =
TZML_TEST_LICENSE = Apache-2.0
TZML_TEST_LICENSE_FILES = LICENSE
TZML_TEST_DEPENDENCIES = $(if $(BR2_PACKAGE_OPTEE_CLIENT),optee-client,tzml-tee-client)

define TZML_TEST_EXTRACT_CMDS
	cp $(TZML_ROOT)/LICENSE $(@D)
endef

define TZML_TEST_BUILD_CMDS
	$(TARGET_MAKE_ENV) $(TARGET_CONFIGURE_OPTS) $(MAKE) -C $(TZML_ROOT)/tests/target O=$(@D)
endef

define TZML_TEST_INSTALL_TARGET_CMDS
	$(MAKE) -C $(TZML_ROOT)/tests/target O=$(@D) install DESTDIR=$(TARGET_DIR)
endef

$(eval $(generic-package))

# SPDX-License-Identifier: Apache-2.0
# The product's packages are made in this repository, not from an archive of it: their build folders contain only what
# was built. After a change: make tzml-host-rebuild
TZML_ROOT = $(realpath $(BR2_EXTERNAL_TZML_PATH)/..)
TZML_PYTHON = $(call qstrip,$(BR2_TZML_PYTHON))
TZML_TA_SIGN_KEY = $(call qstrip,$(BR2_TZML_TA_SIGN_KEY))
TZML_TARGET = $(call qstrip,$(BR2_TZML_TARGET))
TZML_RELEASE = $(shell sed -n 's/^release := //p' $(TZML_ROOT)/host/Makefile)

include $(sort $(wildcard $(BR2_EXTERNAL_TZML_PATH)/package/*/*.mk))

# SPDX-License-Identifier: Apache-2.0
#
# What OP-TEE's ports for QEMU, the Raspberry Pi and the HiKey leave out, and faster AES-GCM.
srcs-$(CFG_TZML_COUNTER_FLASH) += counter_flash.c
srcs-$(CFG_TZML_FLASH) += flash.c
srcs-$(CFG_TZML_HUK_BUILD) += huk_build.c
srcs-$(CFG_TZML_HUK_FLASH) += huk_flash.c
srcs-$(CFG_TZML_SEED) += seed.c
srcs-$(CFG_TZML_SEED_BCM2835) += seed_bcm2835.c
srcs-$(CFG_TZML_SEED_DEVICE_TREE) += seed_device_tree.c
srcs-$(call cfg-all-enabled,CFG_ARM64_core CFG_CRYPTO_WITH_CE) += gcm_a64.S

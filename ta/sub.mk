# SPDX-License-Identifier: Apache-2.0
include ../runtime/sources.mk

global-incdirs-y += . include ../runtime/include
# bundles are read where they lie: no aliasing or alignment tricks wanted
cflags-y += -Wextra -Wshadow -Wno-unused-parameter
srcs-y += entry.c kernels.c platform.c
srcs-y += $(addprefix ../runtime/,$(runtime-srcs))

# SPDX-License-Identifier: Apache-2.0
include ../runtime/sources.mk

global-incdirs-y += . include ../runtime/include
# bundles are read where they lie: no aliasing or alignment tricks wanted
cflags-y += -Wextra -Wshadow -Wno-unused-parameter
cppflags-y += -DTZML_SEALED_ONLY=$(if $(filter y,$(CFG_TZML_SEALED_ONLY)),1,0)
srcs-y += attest.c crypto.c device.c device_key.c entry.c kernels.c memory.c \
	pipeline.c platform.c samples.c state.c storage.c
# the loops are to stay loops: the compiler would make calls of memcpy and memset of them
cflags-memory.c-y += -O3 -fno-tree-loop-distribute-patterns
srcs-y += $(addprefix ../runtime/,$(runtime-srcs))

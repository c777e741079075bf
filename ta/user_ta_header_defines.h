/* SPDX-License-Identifier: Apache-2.0 */
#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

#include <tzml_ta.h>

#define TA_UUID TZML_TA_UUID

/* Neither single instance nor multi session: each session stands alone. */
#define TA_FLAGS 0

/*
 * A kernel's buffers take less than 1 KiB of it and its registers as much
 * again (STACK_LIMIT in py/tzml/compiler/codegen/scratch.py); the runtime
 * takes 2 KiB.
 * Signature checks are the core's.
 */
#define TA_STACK_SIZE (16 * 1024)

/* Session state only: a model's memory is mapped when its size is known. */
#define TA_DATA_SIZE (16 * 1024)

#define TA_VERSION     "0.1"
#define TA_DESCRIPTION "tzml: neural networks inside TrustZone"

#endif /* USER_TA_HEADER_DEFINES_H */

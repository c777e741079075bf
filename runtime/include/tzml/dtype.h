/* SPDX-License-Identifier: Apache-2.0 */
/* Element types of tensors, for users of libtzml too. */
#ifndef TZML_DTYPE_H
#define TZML_DTYPE_H

#define TZML_MAX_DIMENSIONS 8

enum tzml_dtype {
	TZML_FLOAT32 = 1,
	TZML_FLOAT16 = 2,
	TZML_INT8 = 3,
	TZML_UINT8 = 4,
	TZML_INT16 = 5,
	TZML_INT32 = 6,
	TZML_INT64 = 7,
	TZML_BOOL = 8,
	TZML_UINT16 = 9,
	TZML_UINT32 = 10,
	TZML_UINT64 = 11,
	TZML_FLOAT64 = 12,
};

#endif /* TZML_DTYPE_H */

// SPDX-License-Identifier: Apache-2.0
#include "signature.h"

const char *dtype_name(uint32_t dtype)
{
	switch (dtype) {
	case TZML_FLOAT32:
		return "FP32";
	case TZML_FLOAT16:
		return "FP16";
	case TZML_INT8:
		return "INT8";
	case TZML_UINT8:
		return "UINT8";
	case TZML_INT16:
		return "INT16";
	case TZML_INT32:
		return "INT32";
	case TZML_INT64:
		return "INT64";
	case TZML_BOOL:
		return "BOOL";
	case TZML_UINT16:
		return "UINT16";
	case TZML_UINT32:
		return "UINT32";
	case TZML_UINT64:
		return "UINT64";
	case TZML_FLOAT64:
		return "FP64";
	default:
		return "UNKNOWN";
	}
}

size_t dtype_size(uint32_t dtype)
{
	switch (dtype) {
	case TZML_FLOAT64:
	case TZML_INT64:
	case TZML_UINT64:
		return 8;
	case TZML_FLOAT32:
	case TZML_INT32:
	case TZML_UINT32:
		return 4;
	case TZML_FLOAT16:
	case TZML_INT16:
	case TZML_UINT16:
		return 2;
	case TZML_INT8:
	case TZML_UINT8:
	case TZML_BOOL:
		return 1;
	default:
		return 0;
	}
}

// SPDX-License-Identifier: Apache-2.0
#include "example_kernels.h"

enum { MULTIPLY, SUM, KERNEL_COUNT };

static const struct {
	struct tzml_kernel_table table;
	struct tzml_kernel kernels[KERNEL_COUNT];
	struct tzml_kernel_argument arguments[5];
} library = {
	.table = {
		.magic = TZML_KERNELS_MAGIC,
		.abi = TZML_KERNEL_ABI,
		.kernel_count = KERNEL_COUNT,
		.argument_count = 5,
		/* SHA-256 of "tzml example kernels 1" */
		.digest = { 0xe7, 0x8a, 0xf1, 0x24, 0xfc, 0x2f, 0xbf, 0x24, 0x1f, 0x71, 0xa8, 0x56, 0x30, 0x65, 0x20, 0x1d, 0x38, 0x00, 0x11, 0x4f, 0x5b, 0x84, 0x6d, 0x30, 0x74, 0x06, 0x28, 0x55, 0x47, 0x2a, 0x25, 0x06 },
	},
	.kernels = { { 0, 3 }, { 3, 2 } },
	.arguments = {
		{ 64, TZML_READ, 0 },
		{ 64, TZML_READ, 0 },
		{ 64, TZML_WRITE, 0 },
		{ 64, TZML_READ, 0 },
		{ 4, TZML_WRITE, 0 },
	},
};

static int32_t multiply(const float *a, const float *b, float *product)
{
	for (int i = 0; i < 16; i++)
		product[i] = a[i] * b[i];
	return 0;
}

static int32_t sum(const float *terms, float *total)
{
	*total = 0;
	for (int i = 0; i < 16; i++)
		*total += terms[i];
	return 0;
}

static int32_t call(uint32_t kernel, void *const *arguments)
{
	switch (kernel) {
	case MULTIPLY:
		return multiply(arguments[0], arguments[1], arguments[2]);
	case SUM:
		return sum(arguments[0], arguments[1]);
	default:
		return -1;
	}
}

const struct tzml_kernels example_kernels = {
	.table = &library.table,
	.call = call,
};

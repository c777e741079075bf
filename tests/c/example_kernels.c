// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "example_kernels.h"

enum { MULTIPLY, SUM, ADD, KERNEL_COUNT };

const struct {
	struct tzml_kernel_table table;
	struct tzml_kernel kernels[KERNEL_COUNT];
	struct tzml_kernel_argument arguments[7];
} tzml_kernels = {
	.table = {
		.magic = TZML_KERNELS_MAGIC,
		.abi = TZML_KERNEL_ABI,
		.kernel_count = KERNEL_COUNT,
		.argument_count = 7,
		/* SHA-256 of "tzml example kernels 2" */
		.digest = { 0x8a, 0x86, 0xf8, 0x15, 0xd8, 0x6a, 0x99, 0xce, 0x0e, 0x09, 0xf0, 0xf3, 0x6a, 0x93, 0x94, 0xc7, 0x82, 0x96, 0x61, 0x89, 0x73, 0xd8, 0xb1, 0x32, 0xc5, 0xca, 0xef, 0xd5, 0xf4, 0xef, 0xb1, 0x16 },
	},
	.kernels = { { 0, 3 }, { 3, 2 }, { 5, 2 } },
	.arguments = {
		{ 64, TZML_READ, 0 },
		{ 64, TZML_READ, 0 },
		{ 64, TZML_WRITE, 0 },
		{ 64, TZML_READ, 0 },
		{ 4, TZML_WRITE, 0 },
		{ 64, TZML_READ | TZML_WRITE, 0 },
		{ 64, TZML_READ, 0 },
	},
};

static void multiply(const float *a, const float *b, float *product)
{
	for (int i = 0; i < 16; i++)
		product[i] = a[i] * b[i];
}

static void sum(const float *terms, float *total)
{
	*total = 0;
	for (int i = 0; i < 16; i++)
		*total += terms[i];
}

static void add(float *sum_so_far, const float *more)
{
	for (int i = 0; i < 16; i++)
		sum_so_far[i] += more[i];
}

int example_kernels_fail;

/* Each does its work before it fails. */
int32_t tzml_kernel_call(uint32_t kernel, void *const *arguments)
{
	const float *first = arguments[0];
	bool fails = example_kernels_fail || isnan(*first);

#ifdef EXAMPLE_KERNELS_CRASH /* a fault of the TA, which OP-TEE ends */
	if (*first == -1)
		__builtin_trap();
#endif
	switch (kernel) {
	case MULTIPLY:
		multiply(arguments[0], arguments[1], arguments[2]);
		return -fails;
	case SUM:
		sum(arguments[0], arguments[1]);
		return -fails;
	case ADD:
		add(arguments[0], arguments[1]);
		return -fails;
	default:
		return -1;
	}
}

const struct tzml_kernels example_kernels = {
	.table = &tzml_kernels.table,
	.call = tzml_kernel_call,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel library exports (docs/bundle.md, "Kernel library"). The
 * compiler generates both symbols; nothing in a library needs a relocation.
 *
 * The library is code and is trusted as code is: OP-TEE checks its signature
 * before the TA may call it. The table tells how far each kernel reads and
 * writes, so a plan, which is data, cannot make a kernel touch other memory.
 */
#ifndef TZML_KERNELS_H
#define TZML_KERNELS_H

#include <stdint.h>
#include <tzml/format.h>

#define TZML_KERNELS_MAGIC  0x4c4b5a54 /* "TZKL" */
#define TZML_KERNELS_SYMBOL "tzml_kernels"
#define TZML_CALL_SYMBOL    "tzml_kernel_call"

enum tzml_access {
	TZML_READ = 1,
	TZML_WRITE = 2,
};

struct tzml_kernel_argument {
	uint64_t size;	 /* bytes from the pointer that the kernel may touch */
	uint32_t access; /* enum tzml_access, or both */
	uint32_t reserved;
};

struct tzml_kernel {
	uint32_t first_argument;
	uint32_t argument_count;
};

/* Followed by kernel_count kernels, then by argument_count arguments. */
struct tzml_kernel_table {
	uint32_t magic;
	uint32_t abi;
	uint32_t kernel_count;
	uint32_t argument_count;
	uint8_t digest[TZML_DIGEST_SIZE]; /* names the library */
};

/*
 * Run one kernel on as many pointers as its table entry has arguments, each
 * aligned to TZML_ALIGNMENT. Zero, or the kernel failed.
 */
typedef int32_t tzml_kernel_call_t(uint32_t kernel, void *const *arguments);

struct tzml_kernels {
	const struct tzml_kernel_table *table;
	tzml_kernel_call_t *call;
};

static inline const struct tzml_kernel *
tzml_kernel(const struct tzml_kernel_table *table, uint32_t kernel)
{
	return (const struct tzml_kernel *)(table + 1) + kernel;
}

static inline const struct tzml_kernel_argument *
tzml_kernel_arguments(const struct tzml_kernel_table *table)
{
	return (const void *)tzml_kernel(table, table->kernel_count);
}

/* What a kernel, which the library has, does with its arguments. */
static inline const struct tzml_kernel_argument *
tzml_arguments_of(const struct tzml_kernels *kernels, uint32_t kernel)
{
	return tzml_kernel_arguments(kernels->table) +
	       tzml_kernel(kernels->table, kernel)->first_argument;
}

#endif /* TZML_KERNELS_H */

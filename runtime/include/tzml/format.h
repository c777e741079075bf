/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bundle as it lies in a file: docs/bundle.md is the specification, and
 * these structures are its tables. Little-endian, no padding.
 */
#ifndef TZML_FORMAT_H
#define TZML_FORMAT_H

#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bundles are little-endian, and so must the processor be"
#endif

#define TZML_ALIGNMENT	 64   /* of sections, chunks and kernel arguments */
#define TZML_DIGEST_SIZE 32   /* SHA-256 */
#define TZML_PAGE_SIZE	 4096 /* of secure memory */
#define TZML_MAGIC	 "\x89TZM\r\n\x1a\n"
#define TZML_PLAN_MAGIC	 "PLAN"

#define TZML_FORMAT_VERSION 1
#define TZML_PLAN_VERSION   1

/*
 * Of the kernel libraries; in the header, and in each library's own table,
 * which is signed with it. It also goes up when the compiler's checks on what
 * a kernel may touch do: libraries from before are then refused.
 */
#define TZML_KERNEL_ABI 2

/* Limits: what is above is refused before anything is allocated for it. */
#define TZML_MAX_SECTIONS	1024
#define TZML_MAX_PLAN_SIZE	(1024 * 1024)
#define TZML_MAX_KERNELS_SIZE	(16 * 1024 * 1024)
#define TZML_MAX_TENSORS	16 /* inputs, and as many outputs */
#define TZML_MAX_DIMENSIONS	8
#define TZML_MAX_CALL_ARGUMENTS 64
#define TZML_MAX_MEMORY		(UINT64_C(1) << 32)

enum tzml_protection {
	TZML_PROTECTION_CLEAR = 0,   /* tags are SHA-256 digests */
	TZML_PROTECTION_AES_GCM = 1, /* reserved for encrypted bundles */
};

enum tzml_target {
	TZML_TARGET_AARCH64 = 1,
	TZML_TARGET_X86_64 = 2,
};

enum tzml_output_policy {
	TZML_POLICY_SCORES = 0, /* outputs leave as they are */
};

enum tzml_section_type {
	TZML_SECTION_PLAN = 1,
	TZML_SECTION_KERNELS_TEE = 2, /* signed OP-TEE library (.ta) */
	TZML_SECTION_KERNELS_REE = 3, /* ELF shared object for Linux */
	TZML_SECTION_METADATA = 4,    /* JSON for people and Python */
	TZML_SECTION_WEIGHTS = 5,     /* one chunk each */
};

struct tzml_header {
	uint8_t magic[8];
	uint32_t format_version;
	uint32_t header_size; /* this structure and the section table */
	uint32_t section_count;
	uint32_t protection; /* enum tzml_protection */
	uint64_t bundle_size;
	uint8_t model_id[16];
	uint64_t model_version;
	uint32_t target; /* enum tzml_target */
	uint32_t kernel_abi;
	uint64_t arena_size;
	uint64_t weights_size;	/* of the memory that chunks are loaded into */
	uint64_t secure_memory; /* all that this model takes at most */
	uint32_t output_policy; /* enum tzml_output_policy */
	uint32_t output_policy_argument;
	uint8_t key_id[16]; /* zero in a clear bundle */
	uint8_t nonce[12];  /* zero in a clear bundle */
	uint32_t reserved0;
	uint64_t code_memory; /* part of secure_memory: TA and kernels */
	uint8_t reserved1[88];
	uint8_t tag[TZML_DIGEST_SIZE]; /* last: over all else */
};

struct tzml_section {
	uint32_t type;	/* enum tzml_section_type */
	uint32_t index; /* of a chunk; zero for the others */
	uint64_t offset;
	uint64_t size;
	uint32_t reserved0;
	uint8_t nonce[12]; /* zero in a clear bundle */
	uint8_t reserved1[24];
	uint8_t tag[TZML_DIGEST_SIZE];
};

enum tzml_dtype {
	TZML_FLOAT32 = 1,
	TZML_FLOAT16 = 2,
	TZML_INT8 = 3,
	TZML_UINT8 = 4,
	TZML_INT16 = 5,
	TZML_INT32 = 6,
	TZML_INT64 = 7,
	TZML_BOOL = 8,
};

enum tzml_region {
	TZML_REGION_ARENA = 1,
	TZML_REGION_WEIGHTS = 2,
};

struct tzml_plan_header {
	uint8_t magic[4];
	uint32_t version;
	uint32_t size; /* of the whole plan */
	uint32_t input_count;
	uint32_t output_count;
	uint32_t chunk_count;
	uint32_t call_count;
	uint32_t argument_count;
	uint64_t arena_size;
	uint64_t weights_size;
	uint8_t kernels_digest[TZML_DIGEST_SIZE];
	uint8_t reserved[16];
};

/* The plan's tables follow its header in this order, without gaps. */

struct tzml_chunk {
	uint64_t size;
	uint64_t offset; /* in the memory for weights */
};

struct tzml_tensor {
	char name[48];	/* UTF-8, padded with zeros, at least one */
	uint32_t dtype; /* enum tzml_dtype */
	uint32_t dimension_count;
	uint32_t dimensions[TZML_MAX_DIMENSIONS]; /* unused ones are zero */
	uint64_t offset;			  /* in the arena */
	uint64_t size; /* bytes: product of the dimensions and the dtype */
	uint8_t reserved[24];
};

struct tzml_call {
	uint32_t kernel;
	uint32_t argument_count; /* the next ones of the argument table */
	uint8_t reserved[8];
};

struct tzml_argument {
	uint32_t region; /* enum tzml_region */
	uint32_t chunk;	 /* zero in the arena */
	uint64_t offset;
	uint64_t size;
};

_Static_assert(sizeof(struct tzml_header) == 256, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_section) == 96, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_plan_header) == 96, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_chunk) == 16, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_tensor) == 128, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_call) == 16, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_argument) == 24, "docs/bundle.md");

#endif /* TZML_FORMAT_H */

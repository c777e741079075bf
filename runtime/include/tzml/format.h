/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bundle as it lies in a file: docs/bundle.md is the specification, and
 * these structures are its tables. Little-endian, no padding.
 */
#ifndef TZML_FORMAT_H
#define TZML_FORMAT_H

#include <stdint.h>
#include <tzml/dtype.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bundles are little-endian, and so must the processor be"
#endif

#define TZML_ALIGNMENT	   64 /* of sections, chunks and kernel arguments */
#define TZML_DIGEST_SIZE   32 /* SHA-256 */
#define TZML_KEY_SIZE	   64 /* P-256 public key, X and Y; also a signature */
#define TZML_POINT_SIZE	   65 /* the same behind a 4 */
#define TZML_SECRET_SIZE   32 /* content key; what ECDH gives */
#define TZML_NONCE_SIZE	   12 /* of AES-GCM */
#define TZML_TAG_SIZE	   16 /* likewise */
#define TZML_WRAPPED_SIZE  (TZML_SECRET_SIZE + TZML_TAG_SIZE)
#define TZML_RELEASED_SIZE (2 * TZML_SECRET_SIZE + TZML_TAG_SIZE)
#define TZML_REQUEST_SIZE  16	/* id of a request */
#define TZML_PAGE_SIZE	   4096 /* of secure memory */

#define TZML_MAGIC	      "\x89TZM\r\n\x1a\n"
#define TZML_GRANT_MAGIC      "\x89TZG\r\n\x1a\n"
#define TZML_CHECKPOINT_MAGIC "\x89TZS\r\n\x1a\n"
#define TZML_RELEASE_MAGIC    "\x89TZR\r\n\x1a\n"
#define TZML_RECORD_MAGIC     "\x89TZX\r\n\x1a\n"
#define TZML_INTERFACE_MAGIC  "INTF"
#define TZML_MEMORY_MAGIC     "MEMO"
#define TZML_PLAN_MAGIC	      "PLAN"

#define TZML_FORMAT_VERSION 2

/*
 * The ABI of the kernel libraries. It stands in the header, and in each
 * library's own table, which is signed with the code. It also goes up when
 * the compiler learns to refuse more of what a kernel may touch: libraries
 * from before are then refused.
 */
#define TZML_KERNEL_ABI 3

/* Limits: what is above is refused before anything is allocated for it. */
#define TZML_MAX_SECTIONS	1024
#define TZML_MAX_INTERFACE_SIZE (512 * 1024)
#define TZML_MAX_PLAN_SIZE	(1024 * 1024) /* also of a memory section */
#define TZML_MAX_KERNELS_SIZE	(16 * 1024 * 1024) /* also of the JSON */
#define TZML_MAX_PROGRAMS	16
#define TZML_MAX_LIBRARIES	16
#define TZML_MAX_MEMORIES	2
#define TZML_MAX_TENSORS	256
#define TZML_MAX_PORTS		64 /* inputs of a program, and its outputs */
#define TZML_MAX_NAME_SIZE	1024
#define TZML_MAX_CALL_ARGUMENTS 64
#define TZML_MAX_MEMORY		(UINT64_C(1) << 32)
#define TZML_MAX_SEALED_SIZE	(UINT64_C(1) << 29) /* less than that */
#define TZML_MAX_RECIPIENTS	1024
#define TZML_MAX_SEGMENT_SIZE	(64 * 1024)	    /* of a checkpoint */
#define TZML_MAX_DEVIATION	(UINT32_C(1) << 24) /* of noise */
#define TZML_MAX_STAGES		64
#define TZML_MAX_SAMPLES	64 /* that are run at once */

enum tzml_protection {
	TZML_PROTECTION_CLEAR = 0,   /* the tag is a SHA-256 digest */
	TZML_PROTECTION_AES_GCM = 1, /* the tag is AES-256-GCM's, and zeros */
};

enum tzml_target {
	TZML_TARGET_AARCH64 = 1,
	TZML_TARGET_X86_64 = 2,
};

/* A set of worlds: which of them may run a program, or reads a section. */
enum tzml_worlds {
	TZML_IN_TEE = 1,
	TZML_IN_REE = 2,
	TZML_IN_BOTH = 3,
};

enum tzml_role {
	TZML_ROLE_INFER = 1,
	TZML_ROLE_ACCUMULATE =
		2,	      /* a micro-batch: add gradients to the state */
	TZML_ROLE_UPDATE = 3, /* apply the gradients to the weights */
	TZML_ROLE_EVALUATE = 4,
};

enum tzml_section_type {
	TZML_SECTION_INTERFACE = 1,
	TZML_SECTION_MEMORY = 2, /* index: which memory */
	TZML_SECTION_PLAN = 3,	 /* index: the program's number */
	/* index: the library's number; TEE: signed .ta; REE: ELF */
	TZML_SECTION_KERNELS = 4,
	TZML_SECTION_METADATA = 5, /* JSON: what running a model takes */
	TZML_SECTION_NOTES = 6,	   /* JSON for people */
	TZML_SECTION_STATE = 7,	   /* initial content of a piece of state */
	TZML_SECTION_WEIGHTS = 8,  /* a chunk */
};

#define TZML_SECTION_REQUIRED 1 /* who does not know the type refuses it */

struct tzml_header {
	uint8_t magic[8];
	uint32_t format_version;
	uint32_t header_size; /* this structure and the section table */
	uint32_t section_count;
	uint32_t required;    /* features that a reader must know: none yet */
	uint64_t bundle_size; /* without grants */
	uint8_t model_id[16]; /* zero: the model has no identity */
	uint64_t model_version;
	uint32_t target; /* enum tzml_target */
	uint32_t kernel_abi;
	uint64_t secure_memory; /* all that this model takes at most */
	uint64_t code_memory;	/* part of secure_memory: TA and kernels */
	uint8_t owner[TZML_KEY_SIZE]; /* zero: nobody signed the bundle */
	uint8_t reserved[80];
	uint8_t digest[TZML_DIGEST_SIZE];
	uint8_t signature[TZML_KEY_SIZE];
};

struct tzml_section {
	uint32_t type; /* enum tzml_section_type */
	uint32_t index;
	uint8_t worlds;	    /* enum tzml_worlds */
	uint8_t protection; /* enum tzml_protection */
	uint8_t flags;	    /* TZML_SECTION_REQUIRED */
	uint8_t reserved[5];
	uint64_t offset;
	uint64_t size;
	uint8_t tag[TZML_DIGEST_SIZE];
};

/* The interface section: header, programs, tensors, ports, strings. */

struct tzml_interface_header {
	uint8_t magic[4];
	uint32_t size; /* of the whole section */
	uint32_t program_count;
	uint32_t tensor_count;
	uint32_t port_count;
	uint32_t strings_size;
	uint8_t reserved[8];
};

struct tzml_program {
	uint32_t name;	      /* offset in the strings */
	uint32_t name_size;   /* without the zero byte behind it */
	uint32_t role;	      /* enum tzml_role */
	uint32_t worlds;      /* enum tzml_worlds */
	uint32_t entry;	      /* which entry point it is a part of */
	uint32_t input_count; /* its next ports, then its outputs */
	uint32_t output_count;
	uint32_t reserved;
};

#define TZML_TENSOR_INPUT  1 /* the caller gives it */
#define TZML_TENSOR_OUTPUT 2 /* the caller gets it */
#define TZML_TENSOR_RANDOM 4 /* random bytes of the world that runs it */

struct tzml_tensor {
	uint32_t name;
	uint32_t name_size;
	uint32_t dtype; /* enum tzml_dtype */
	uint32_t dimension_count;
	uint32_t dimensions[TZML_MAX_DIMENSIONS]; /* unused ones are zero */
	uint64_t size;	/* bytes: product of the dimensions and the dtype */
	uint32_t flags; /* TZML_TENSOR_*; 0: it passes between programs */
	uint32_t reserved;
};

/* A memory section: header, chunks of weights, pieces of state. */

struct tzml_memory_header {
	uint8_t magic[4];
	uint32_t size;	      /* of the whole section */
	uint32_t first_chunk; /* index of its first weights section */
	uint32_t chunk_count;
	uint32_t first_state; /* index of its first state section */
	uint32_t state_count;
	/* of a private model, else zero: where in the state its sums begin */
	uint64_t sums;
	uint64_t arena_size;
	uint64_t weights_size; /* of the memory that chunks are loaded into */
	uint64_t state_size;
	uint32_t sum_count; /* int32 each */
	uint32_t deviation; /* of the noise that each update adds to them */
};

struct tzml_chunk {
	uint64_t size;
	uint64_t offset; /* in the memory for weights, or in the state */
};

/* A plan section: header, places of the ports, calls, arguments. */

enum tzml_region {
	TZML_REGION_ARENA = 1,
	TZML_REGION_WEIGHTS = 2,
	TZML_REGION_STATE = 3,
};

struct tzml_plan_header {
	uint8_t magic[4];
	uint32_t size; /* of the whole section */
	uint32_t library;
	uint32_t port_count; /* the program's inputs and outputs */
	uint32_t call_count;
	uint32_t argument_count;
	uint8_t reserved[8];
	uint8_t kernels_digest[TZML_DIGEST_SIZE];
};

struct tzml_place {
	uint32_t region; /* arena; of an output also state */
	uint32_t reserved;
	uint64_t offset;
};

struct tzml_call {
	uint32_t kernel;
	uint32_t argument_count; /* the next ones of the argument table */
};

struct tzml_argument {
	uint32_t region; /* enum tzml_region */
	uint32_t chunk;	 /* of the memory; zero outside of the weights */
	uint64_t offset;
	uint64_t size;
};

/* A grant: header, recipients, signature. */

enum tzml_output_policy {
	TZML_OUTPUT_FULL = 0,
	TZML_OUTPUT_TOP_K = 1,	 /* indices of the k largest, best first */
	TZML_OUTPUT_TOP_1 = 2,	 /* index of the largest */
	TZML_OUTPUT_RANKS = 3,	 /* all indices, best first */
	TZML_OUTPUT_ROUNDED = 4, /* fewer bits of the mantissa */
	TZML_OUTPUT_SEALED = 5,	 /* all of it, but only in records */
};

/* Rights that a grant gives: a set. */
enum tzml_right {
	TZML_RIGHT_SAVE_STATE = 1,
	TZML_RIGHT_EXPORT_STATE = 2,
	TZML_RIGHT_MEASURE = 4,
	TZML_RIGHT_TRAIN = 8,	  /* run programs that accumulate or update */
	TZML_RIGHT_FEDERATE = 16, /* take models of the export key's holder */
	TZML_RIGHTS = 31,
};

#define TZML_UNLIMITED UINT64_MAX /* query_budget: any number of runs */

struct tzml_grant {
	uint8_t magic[8];
	uint32_t format_version;
	uint32_t grant_size; /* all of it */
	uint32_t recipient_count;
	uint32_t required;
	uint8_t bundle_digest[TZML_DIGEST_SIZE];
	uint8_t model_id[16];
	uint8_t owner[TZML_KEY_SIZE];
	uint64_t serial;
	uint32_t output_policy; /* enum tzml_output_policy */
	uint32_t policy_argument;
	uint64_t query_budget;
	uint32_t programs; /* bit p: program p may be run */
	uint32_t rights;   /* enum tzml_right */
	uint64_t lowest_ta_version;
	uint8_t export_key[TZML_KEY_SIZE];
	uint64_t noised_updates; /* of a private model, in all its life */
	uint8_t reserved[72];
};

struct tzml_recipient {
	uint8_t key_id[TZML_DIGEST_SIZE]; /* SHA-256 of the device's point */
	uint8_t enc[TZML_POINT_SIZE];	  /* HPKE's encapsulated key */
	uint8_t wrapped[TZML_WRAPPED_SIZE];
	uint8_t reserved[15];
};

/* A checkpoint: header, then the state in segments, a tag behind each. */

enum tzml_checkpoint_kind {
	TZML_CHECKPOINT_CLEAR = 1,    /* of a session in the normal world */
	TZML_CHECKPOINT_SAVED = 2,    /* for the device that made it */
	TZML_CHECKPOINT_EXPORTED = 3, /* for the grant's export key */
	TZML_CHECKPOINT_GLOBAL = 4,   /* from its holder, for a round */
};

#define TZML_NOTE_SIZE 64

struct tzml_checkpoint {
	uint8_t magic[8];
	uint32_t format_version;
	uint32_t header_size;
	uint32_t kind;	       /* enum tzml_checkpoint_kind */
	uint32_t segment_size; /* of all segments but the last */
	uint64_t state_size;
	uint64_t number; /* goes up with each; or the round of federated ones */
	uint64_t updates; /* runs of programs of that role so far */
	uint64_t model_version;
	uint8_t model_id[16];
	uint8_t owner[TZML_KEY_SIZE];
	uint8_t bundle_digest[TZML_DIGEST_SIZE];
	uint8_t device[TZML_DIGEST_SIZE]; /* SHA-256 of its point */
	uint8_t salt[TZML_DIGEST_SIZE];	  /* random: no two have one key */
	uint8_t note[TZML_NOTE_SIZE];	  /* the caller's, as it is */
	/* what comes before is bound to the key; of exported ones, the key: */
	uint8_t enc[TZML_POINT_SIZE];
	uint8_t wrapped[TZML_WRAPPED_SIZE];
	uint8_t reserved[7];
};

/* A release: what a TEE session needs for a stage; a signature follows. */

struct tzml_release {
	uint8_t magic[8];
	uint32_t format_version;
	uint32_t required;
	uint8_t pipeline[16];
	uint64_t epoch;
	uint32_t stage;
	uint32_t stage_count;
	uint32_t program; /* of the bundle: what the stage runs */
	uint32_t reserved;
	uint8_t bundle_digest[TZML_DIGEST_SIZE];
	uint8_t owner[TZML_KEY_SIZE];
	uint8_t session[TZML_DIGEST_SIZE]; /* the session's id */
	uint8_t client_key[TZML_KEY_SIZE]; /* that clients seal to */
	uint8_t enc[TZML_POINT_SIZE];	   /* HPKE's encapsulated key */
	uint8_t wrapped[TZML_RELEASED_SIZE];
	uint8_t reserved1[55];
};

/* A record: header, sealed payload, tag. */

struct tzml_record {
	uint8_t magic[8];
	uint32_t format_version;
	uint32_t required;
	uint8_t pipeline[16];
	uint64_t epoch;
	uint32_t edge; /* the stage that it goes to; stage_count: the client */
	uint32_t reserved;
	uint8_t request[TZML_REQUEST_SIZE];
	uint8_t sender[TZML_DIGEST_SIZE];
	uint64_t counter;
	uint64_t size; /* of the payload */
	/* edge 0: the client's secret, sealed to client_key; else zero */
	uint8_t enc[TZML_POINT_SIZE];
	uint8_t wrapped[TZML_WRAPPED_SIZE];
	uint8_t reserved1[31];
};

_Static_assert(sizeof(struct tzml_header) == 320, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_section) == 64, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_interface_header) == 32, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_program) == 32, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_tensor) == 64, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_memory_header) == 64, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_chunk) == 16, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_plan_header) == 64, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_place) == 16, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_call) == 8, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_argument) == 24, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_grant) == 320, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_recipient) == 160, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_checkpoint) == 416, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_release) == 448, "docs/bundle.md");
_Static_assert(sizeof(struct tzml_record) == 256, "docs/bundle.md");

#endif /* TZML_FORMAT_H */

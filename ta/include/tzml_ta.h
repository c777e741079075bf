/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol between the normal world and the tzml Trusted Application.
 *
 * One session is one model: each session is an instance of its own, and
 * closing it wipes and gives back everything. Parameters that are not named
 * are TEE_PARAM_TYPE_NONE.
 *
 * Results are TEE_SUCCESS or the codes of tzml/status.h. Each command lists
 * those that it may return; besides these, every command returns
 *
 * TZML_ERROR_REQUEST	parameters of the wrong types, or a command that does
 *			not exist
 * TZML_ERROR_PLATFORM	OP-TEE failed in a way that has no code of its own
 */
#ifndef TZML_TA_H
#define TZML_TA_H

#include <stdint.h>
#include <tzml/dtype.h>
#include <tzml/format.h>

#define TZML_TA_UUID  \
	{ 0xbcfd5ae6, \
	  0xea1e,     \
	  0x4018,     \
	  { 0xa5, 0xd9, 0x76, 0x73, 0xb6, 0xe2, 0xe5, 0x1f } }

/*
 * Version of this protocol. It goes up when a client of the version before
 * would misunderstand the TA. Clients ask with TZML_CMD_PING before anything
 * else, whose number and parameters never change.
 *
 * 1	format 1 of bundles; had no TZML_CMD_PING
 * 2	programs, state, PING and RESET
 * 3	sealed bundles: GRANT, ENROLL, DEVICE and ATTEST
 */
#define TZML_TA_PROTOCOL 3

/* Version of the TA itself; goes up with each release. */
#define TZML_TA_VERSION 1

/* The first number that no command has. */
#define TZML_CMD_END 26

/*
 * Say what this TA is. A TA of protocol 1 returns TZML_ERROR_REQUEST.
 *
 * [out] memref[0]   struct tzml_ta_info, or as much of it as there is room
 *		     for, from the start; the size is what was written
 */
#define TZML_CMD_PING 16

struct tzml_ta_info {
	uint32_t protocol;	 /* TZML_TA_PROTOCOL */
	uint32_t ta_version;	 /* TZML_TA_VERSION */
	uint32_t format_version; /* of the bundles that it reads */
	uint32_t kernel_abi;	 /* of the libraries that it loads */
	uint64_t features;	 /* TZML_TA_FEATURE_* */
	/* limits */
	uint32_t max_sections;
	uint32_t max_programs;
	uint32_t max_libraries;
	uint32_t max_ports; /* inputs of a program, and its outputs */
};

/* LIBRARIES and REMOVE_LIBRARY */
#define TZML_TA_FEATURE_LIBRARIES 1
/* SAVE, CONFIRM, RESTORE and their segments */
#define TZML_TA_FEATURE_CHECKPOINTS 2
/* it runs models that nobody sealed, too: a development image's */
#define TZML_TA_FEATURE_CLEAR 4
/* STAGE, JOIN, RUN_RECORD and CONTINUE_RECORD */
#define TZML_TA_FEATURE_STAGES 8
/* RUN_BATCH and CONTINUE_BATCH */
#define TZML_TA_FEATURE_BATCHES 16
/* RUN_REQUEST */
#define TZML_TA_FEATURE_REQUESTS 32

/*
 * Take a bundle's header and section table. Closes the session's earlier
 * model, if there is one.
 *
 * [in]  memref[0]   the header, exactly as long as it says
 * [in]  value[1].a  TZML_OPEN_* flags
 * [out] value[2].a  section to load next
 *
 * TZML_ERROR_NOT_A_BUNDLE, _FORMAT_OLD, _FORMAT_VERSION, _TRUNCATED, _LIMIT,
 * _HEADER_MALFORMED, _HEADER_DIGEST, _UNSUPPORTED, _PROTECTION,
 * _SECTION_TABLE, _WRONG_TARGET, _UNSEALED, _DOWNGRADE	as docs/bundle.md,
 *				"Errors", has them
 * TZML_ERROR_MEMORY		no memory for the header or the tables
 */
#define TZML_CMD_OPEN 0

/* Install the model's kernel libraries even if they are installed. */
#define TZML_OPEN_REINSTALL 1

#define TZML_TA_READY UINT32_MAX

/*
 * Load the next bytes of the section that was asked for. They are copied
 * before they are looked at; every error but STATE closes the model.
 *
 * [in]  value[0].a  section
 * [in]  value[0].b  offset of the bytes in the section
 * [in]  memref[1]   the bytes
 * [out] value[2].a  section to load next, or TZML_TA_READY
 *
 * TZML_ERROR_STATE		no section is wanted
 * TZML_ERROR_LOAD_ORDER	another section or offset is wanted, or fewer
 *				bytes
 * TZML_ERROR_PROTECTION, _SECTION_DIGEST, _INTERFACE_MALFORMED,
 * _PLAN_MALFORMED, _UNSUPPORTED, _LIMIT, _KERNELS_ABSENT, _SECURE_MEMORY,
 * _KERNEL_MISSING, _KERNEL_MISMATCH	as docs/bundle.md, "Errors", has them
 * TZML_ERROR_KERNELS_REFUSED	OP-TEE refused the library's signature, which it
 *				checks at each opening
 * TZML_ERROR_KERNELS_OLD	OP-TEE has a newer version of the library
 * TZML_ERROR_KERNELS_CHANGED	the library is not the one that the plan names
 * TZML_ERROR_STORAGE		OP-TEE's secure storage is damaged
 * TZML_ERROR_STORAGE_FULL	OP-TEE cannot write there
 * TZML_ERROR_MEMORY		no memory for what comes next
 */
#define TZML_CMD_LOAD 1

/*
 * Begin to run a program and go on until it is done, or until a chunk of
 * weights is missing: then load the section that is asked for, and CONTINUE.
 *
 * [in]  memref[0]   the inputs, back to back in the order of its ports
 * [out] memref[1]   room for exactly the outputs, likewise; written when done
 * [inout] value[2].a  in: number of the program;
 *		       out: section to load next, or TZML_TA_READY when done
 *
 * TZML_ERROR_STATE		the model is not loaded
 * TZML_ERROR_PROGRAM		there is no such program, or not in this world
 * TZML_ERROR_STATE_LOST	a run that did not end left the state half
 *				changed
 * TZML_ERROR_INPUT_SIZE, _OUTPUT_SIZE
 * TZML_ERROR_GRANT_PROGRAM, _BUDGET, _PRIVACY_BUDGET	the grant does not
 *				allow it, or not once more
 * TZML_ERROR_KERNEL_FAILED
 */
#define TZML_CMD_RUN 2

/*
 * Go on with the run that RUN began.
 *
 * [out] memref[0]   as RUN's memref[1]
 * [out] value[1].a  as RUN's value[2].a
 *
 * TZML_ERROR_STATE		no run was begun, or a section is wanted first
 * TZML_ERROR_OUTPUT_SIZE, _KERNEL_FAILED
 */
#define TZML_CMD_CONTINUE 3

/*
 * RUN for a request with an id, which CONTINUE goes on with. It costs nothing of
 * a budget if the session has answered that id with the same inputs, at most
 * TZML_KNOWN_REQUESTS such requests ago, and has repeated that answer less than
 * TZML_FREE_RUNS times (tzml/model.h).
 *
 * [in]  memref[0]   as RUN's
 * [out] memref[1]   as RUN's
 * [inout] value[2].a  as RUN's
 * [in]  memref[3]   the id, TZML_REQUEST_SIZE bytes
 *
 * what RUN returns
 */
#define TZML_CMD_RUN_REQUEST 25

/*
 * Begin to run a program on several samples, as RUN does on one: chunks are
 * loaded once for all of them. Inputs are read, sample by sample, until a chunk
 * is missing after the first call; outputs are written at the end, the first
 * of them also when a later sample fails. A budget counts each sample, all
 * before the first is run.
 *
 * [in]  memref[0]   the inputs of the samples, back to back
 * [out] memref[1]   room for exactly the outputs of the samples, likewise
 * [inout] value[2].a  as RUN's
 * [in]  value[2].b  samples, at most TZML_MAX_SAMPLES
 *
 * TZML_ERROR_LIMIT		no samples, or too many
 * TZML_ERROR_BATCH_PROGRAM	the program changes state
 * TZML_ERROR_MEMORY		no memory for what samples have while others are
 *				run: fewer may do
 * and what RUN returns
 */
#define TZML_CMD_RUN_BATCH 23

/*
 * Go on with the samples that RUN_BATCH began, on the same memory.
 *
 * [in]  memref[0]   as RUN_BATCH's
 * [out] memref[1]   as RUN_BATCH's
 * [out] value[2].a  as RUN's
 *
 * TZML_ERROR_STATE		none were begun, or a section is wanted first
 * TZML_ERROR_INPUT_SIZE, _OUTPUT_SIZE, _KERNEL_FAILED
 */
#define TZML_CMD_CONTINUE_BATCH 24

/*
 * What a program takes, and what it gives to the caller.
 *
 * [out] memref[0]  array of struct tzml_ta_port: inputs, then outputs; when
 *                  it is too short, TEE_ERROR_SHORT_BUFFER and the size
 * [inout] value[1].a in: number of the program; out: number of inputs
 * [inout] value[1].b in: 0; out: number of outputs
 *
 * TZML_ERROR_STATE		the model is not loaded, or a run is under way
 * TZML_ERROR_PROGRAM		there is no such program, or not in this world
 * TZML_ERROR_MEMORY		no memory to put the answer together
 */
#define TZML_CMD_DESCRIBE 4

struct tzml_ta_port {
	uint32_t tensor; /* its number in the bundle's interface */
	uint32_t dtype;	 /* enum tzml_dtype */
	uint32_t dimension_count;
	uint32_t dimensions[TZML_MAX_DIMENSIONS];
	uint32_t reserved;
	uint64_t size; /* bytes in RUN's memory; 0: the TA has its own */
};

/*
 * Secure memory of this session.
 *
 * [out] memref[0]  struct tzml_ta_memory
 */
#define TZML_CMD_MEMORY 5

struct tzml_ta_memory {
	uint64_t mapped;      /* bytes the TA mapped for the model, now */
	uint64_t mapped_peak; /* the most of it since the session began */
	uint64_t arena;
	uint64_t weights;
	uint64_t state;
	uint64_t tables; /* interface, memory, plans */
};

/*
 * Give the state its initial content again: load the sections that are asked
 * for. Gives up a run that is under way.
 *
 * [out] value[0].a  section to load next, or TZML_TA_READY
 *
 * TZML_ERROR_STATE		the model is not loaded
 */
#define TZML_CMD_RESET 6

/*
 * The kernel libraries that are installed on the device, in no order.
 *
 * [out] memref[0]  array of struct tzml_ta_library; when it is too short,
 *		    TEE_ERROR_SHORT_BUFFER and the size
 *
 * TZML_ERROR_STORAGE		OP-TEE's secure storage is damaged
 */
#define TZML_CMD_LIBRARIES 7

struct tzml_ta_library {
	uint8_t uuid[16]; /* RFC 9562's order */
	uint32_t version; /* of the signed image */
	uint32_t size;	  /* bytes of the ELF */
};

/*
 * Remove an installed library. Sessions that have it open keep it, and a
 * bundle that brings it installs it again, but never an older version.
 *
 * [in]  memref[0]  its UUID, 16 bytes
 *
 * TZML_ERROR_NO_LIBRARY	it is not installed
 * TZML_ERROR_REMOVAL		OP-TEE cannot remove libraries
 * TZML_ERROR_STORAGE		OP-TEE's secure storage is damaged
 * TZML_ERROR_STORAGE_FULL	OP-TEE cannot write there
 */
#define TZML_CMD_REMOVE_LIBRARY 8

/*
 * Take the grant for the sealed bundle that was opened, before any section is
 * loaded. Any error but STATE closes the model.
 *
 * [in]  memref[0]   the grant, exactly as long as it says
 * [out] value[1].a  section to load next
 *
 * TZML_ERROR_STATE		no model was opened, or it is loaded in part,
 *				or has a grant already
 * TZML_ERROR_GRANT_MALFORMED, _UNSUPPORTED, _GRANT_OTHER, _SIGNATURE,
 * _GRANT_DEVICE, _TA_OLD	as docs/bundle.md, "Errors", has them
 * TZML_ERROR_NOT_ENROLLED	the device has no identity
 * TZML_ERROR_OWNER_UNKNOWN	the device was not enrolled for the owner
 * TZML_ERROR_MODEL_OLD, _GRANT_OLD	it has seen a newer model or grant
 * TZML_ERROR_IDENTITY_FULL	it remembers as many models as it can
 * TZML_ERROR_STORAGE_FULL	OP-TEE cannot write down what it has seen
 */
#define TZML_CMD_GRANT 9

/*
 * Make the device's identity.
 *
 * [in]  memref[0]   struct tzml_ta_enroll, then the owners' public keys, X and
 *		     Y, 64 bytes each
 * [out] memref[1]   struct tzml_ta_device
 *
 * TZML_ERROR_ENROLLED		there is an identity, and it is not to be
 *				replaced
 * TZML_ERROR_LIMIT		no owner, or more than TZML_TA_MAX_OWNERS
 * TZML_ERROR_STORAGE_FULL, _MEMORY
 */
#define TZML_CMD_ENROLL 10

#define TZML_TA_MAX_OWNERS  8
#define TZML_ENROLL_REPLACE 1 /* give up an identity that is there */

struct tzml_ta_enroll {
	uint8_t verifier[TZML_SECRET_SIZE]; /* random, secret: for the key */
	uint32_t flags;			    /* TZML_ENROLL_* */
	uint32_t owner_count;
};

struct tzml_ta_device {
	uint8_t point[TZML_POINT_SIZE]; /* the public key: 4, X, Y */
	uint8_t reserved[7];
};

/*
 * The device's public key.
 *
 * [out] memref[0]   struct tzml_ta_device
 *
 * TZML_ERROR_NOT_ENROLLED	it has none
 */
#define TZML_CMD_DEVICE 11

/*
 * OP-TEE's evidence that a TA with this TA's code has the device's key, for
 * these owners. Only in a session that has no model: kernel libraries would be
 * measured with the TA.
 *
 * [in]  memref[0]   32 random bytes of whoever checks the evidence
 * [out] memref[1]   struct tzml_ta_evidence
 *
 * TZML_ERROR_NOT_ENROLLED	there is no identity
 * TZML_ERROR_STATE		the session has a model
 * TZML_ERROR_STORAGE		OP-TEE's key is damaged; the next call makes
 *				another one
 * TZML_ERROR_STORAGE_FULL, _MEMORY
 */
#define TZML_CMD_ATTEST 12

#define TZML_CHALLENGE_SIZE 32
#define TZML_MAX_RSA_SIZE   512 /* of a key of 4096 bits */

/*
 * Make a key for this session, which dies with it, and OP-TEE's evidence for
 * it, in which it stands in the place of the device's. Otherwise as ATTEST.
 * The key is another one at each call, and an earlier one is gone.
 *
 * [in]  memref[0]   32 random bytes of whoever checks the evidence
 * [out] memref[1]   struct tzml_ta_evidence
 */
#define TZML_CMD_STAGE 13

/*
 * Take the keys of a stage, for the model, which is loaded.
 *
 * [in]  memref[0]   the release, signed by an owner of the device
 * [out] value[1].a  bytes of the records that the stage takes
 * [out] value[1].b  bytes of those that it gives
 *
 * TZML_ERROR_STATE		there was no STAGE, or the model is not loaded
 * TZML_ERROR_RELEASE_MALFORMED, _UNSUPPORTED, _SIGNATURE, _RELEASE_OTHER,
 * _RELEASE_OLD, _STAGE_PROGRAM	as docs/bundle.md, "Release (.tzr)", has them
 * TZML_ERROR_PROGRAM		there is no such program, or not in this world
 * TZML_ERROR_NOT_ENROLLED, _OWNER_UNKNOWN
 * TZML_ERROR_MEMORY		no memory for the inputs or outputs
 */
#define TZML_CMD_JOIN 14

/*
 * Begin to run the stage's program on a sealed record, as RUN does.
 *
 * [in]  memref[0]   the record
 * [out] memref[1]   room for exactly the record that comes out; written when
 *		     done
 * [out] value[2].a  section to load next, or TZML_TA_READY when done
 *
 * TZML_ERROR_NOT_RELEASED	the session has no keys
 * TZML_ERROR_STATE		the model is not the release's any more
 * TZML_ERROR_RECORD_MALFORMED, _UNSUPPORTED, _RECORD_OTHER, _RECORD_EPOCH,
 * _RECORD_TAG			as docs/bundle.md, "Record (.tzx)", has them
 * TZML_ERROR_OUTPUT_SIZE, _KERNEL_FAILED, _BUDGET, _GRANT_PROGRAM
 */
#define TZML_CMD_RUN_RECORD 15

/*
 * Go on with the run that RUN_RECORD began; CONTINUE does not.
 *
 * [out] memref[0]   as RUN_RECORD's memref[1]
 * [out] value[1].a  as RUN_RECORD's value[2].a
 */
#define TZML_CMD_CONTINUE_RECORD 22

/*
 * A hash of memory, and OP-TEE's signature (RSASSA-PSS with SHA-256, salt of 32
 * bytes) of SHA-256(SHA-256(label | nonce | point | SHA-256(owners)) | hash).
 */
struct tzml_ta_report {
	uint8_t hash[TZML_DIGEST_SIZE];
	uint8_t signature[TZML_MAX_RSA_SIZE];
};

struct tzml_ta_evidence {
	struct tzml_ta_device device;
	uint32_t owner_count;
	/* bytes of the modulus and of a signature; 0: OP-TEE attests nothing */
	uint32_t rsa_size;
	uint8_t owners[TZML_TA_MAX_OWNERS][TZML_KEY_SIZE];
	uint8_t modulus[TZML_MAX_RSA_SIZE]; /* of OP-TEE's key; 65537 */
	struct tzml_ta_report ta; /* label "tzml device 1", or "tzml stage 1" */
	struct tzml_ta_report core; /* label "tzml core 1" */
};

/*
 * Begin to save the model's state; take all segments afterwards, in order. Any
 * command that runs or changes the model gives it up.
 *
 * [in]  memref[0]   the caller's note, TZML_NOTE_SIZE bytes
 * [out] memref[1]   struct tzml_checkpoint
 * [in]  value[2].a  TZML_SAVE_* flags (tzml/model.h)
 * [out] value[3].a  bytes of the first segment with its tag
 *
 * TZML_ERROR_STATE		the model is not loaded, or a run is under way
 * TZML_ERROR_STATELESS		it has no state
 * TZML_ERROR_STATE_LOST	the state is half changed
 * TZML_ERROR_GRANT_STATE	the grant does not allow it
 * TZML_ERROR_NOT_ENROLLED	the device has no identity
 * TZML_ERROR_CHECKPOINT_FORKED	the session does not continue the newest
 *				checkpoint, and does not give it up
 * TZML_ERROR_GRANT_OLD		a later grant came meanwhile
 * TZML_ERROR_STORAGE_FULL	OP-TEE cannot write down its number
 */
#define TZML_CMD_SAVE 17

/*
 * The next segment.
 *
 * [out] memref[0]   room for exactly the segment and its tag
 * [out] value[1].a  bytes of the next one, 0: this was the last
 *
 * TZML_ERROR_STATE		nothing is being saved
 * TZML_ERROR_OUTPUT_SIZE
 */
#define TZML_CMD_SAVE_SEGMENT 18

/*
 * The checkpoint that this session saved last is kept: those before it are
 * refused from now on.
 *
 * TZML_ERROR_STATE		none was saved since the last CONFIRM
 * TZML_ERROR_CHECKPOINT_OLD	another session saved one meanwhile
 * TZML_ERROR_GRANT_OLD, _STORAGE_FULL
 */
#define TZML_CMD_CONFIRM 19

/*
 * Begin to restore the state; give all segments afterwards, in order.
 *
 * [in]  memref[0]   struct tzml_checkpoint
 * [out] value[1].a  bytes of the first segment with its tag
 *
 * TZML_ERROR_STATE, _STATELESS, _GRANT_STATE, _NOT_ENROLLED	as SAVE
 * TZML_ERROR_CHECKPOINT_MALFORMED, _CHECKPOINT_KIND, _CHECKPOINT_MODEL,
 * _CHECKPOINT_VERSION, _CHECKPOINT_DEVICE, _CHECKPOINT_OLD, _ROUND_OLD
 *				as docs/bundle.md, "Checkpoint (.tzs)"
 * TZML_ERROR_GRANT_OLD		a later grant came meanwhile
 */
#define TZML_CMD_RESTORE 20

/*
 * Any error but STATE gives the restoring up; after a segment that was right,
 * the state is lost then.
 *
 * [in]  memref[0]   the segment and its tag
 * [out] value[1].a  bytes of the next one, 0: this was the last
 *
 * TZML_ERROR_STATE		nothing is being restored
 * TZML_ERROR_CHECKPOINT_MALFORMED	it has the wrong size
 * TZML_ERROR_CHECKPOINT_DAMAGED
 * TZML_ERROR_CHECKPOINT_OLD, _ROUND_OLD, _GRANT_OLD, _STORAGE_FULL
 *				at the last segment
 */
#define TZML_CMD_RESTORE_SEGMENT 21

#endif /* TZML_TA_H */

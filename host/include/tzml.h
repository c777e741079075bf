/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libtzml: run a bundle in the secure world or in the normal world.
 * docs/example.c is a whole program.
 *
 *	struct tzml_session *session = NULL;
 *
 *	if (tzml_open("digits.tzm", TZML_WORLD_TEE, &session))
 *		errx(1, "%s", tzml_error());
 *	if (tzml_run(session, inputs, inputs_size, outputs, outputs_size, NULL))
 *		errx(1, "%s", tzml_error());
 *	tzml_close(session);
 *
 * Functions that can fail return zero or a code of tzml/status.h. A session
 * is used by one thread at a time. The Python package reads the declarations
 * between the two marks.
 */
#ifndef TZML_H
#define TZML_H

#include <stddef.h>
#include <stdint.h>
#include <tzml/dtype.h>
#include <tzml/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cffi: begin */
#define TZML_WORLD_REE	0 /* the normal world: plain Linux */
#define TZML_WORLD_TEE	1 /* the secure world: the TA under OP-TEE */
#define TZML_WORLD_NONE 2 /* of a program that the open worlds cannot run */

struct tzml_session;

struct tzml_tensor_info {
	const char *name;
	uint32_t dtype; /* enum tzml_dtype */
	uint32_t dimension_count;
	const uint32_t *dimensions;
	uint64_t size; /* bytes */
};

/* Of the world that was asked for. */
struct tzml_memory {
	/* bytes that the model itself takes, in either world */
	uint64_t arena;
	uint64_t weights;
	uint64_t state;
	uint64_t tables;      /* interface, memory section and plans */
	uint64_t mapped;      /* all of it, in pages, now */
	uint64_t mapped_peak; /* and at most */
	/* OP-TEE's memory for TAs: what all of them take; zero in the REE */
	uint64_t pool_size;
	uint64_t pool_used;
	uint64_t pool_peak;   /* since this session was opened */
	uint64_t pool_before; /* used before this session was opened */
	/* OP-TEE's own memory, of which each session takes some */
	uint64_t heap_size;
	uint64_t heap_used;
};

/* A chunk of weights, and what loading it took since the session was opened. */
struct tzml_chunk_info {
	uint64_t size; /* bytes */
	uint64_t loads;
	uint64_t nanoseconds; /* wall time of reading it and handing it over */
};

/* A program of the bundle, and where this session runs it. */
struct tzml_program_info {
	const char *name;
	uint32_t role;	/* 1 infer, 2 accumulate, 3 update, 4 evaluate */
	uint32_t entry; /* the entry point that it is a part of */
	uint32_t world; /* TZML_WORLD_* */
};

/* What the runs of a program took since the session was opened. */
struct tzml_program_use {
	uint64_t runs;
	uint64_t nanoseconds; /* wall time, handing over and loading included */
	uint64_t input_size;  /* bytes that one run takes, and gives */
	uint64_t output_size;
};

/*
 * Open the bundle at `path` in that world. The file stays open: weights for
 * which there is no room are read again in every run. In TZML_WORLD_TEE,
 * programs that only the normal world may run are run in this process; in
 * TZML_WORLD_REE, all are. The normal world loads the bundle's code into this
 * process: open only bundles there that you would also execute.
 */
uint32_t tzml_open(const char *path, uint32_t world,
		   struct tzml_session **session);

/*
 * The same with a file that is open for reading, which the caller may close
 * afterwards. `name` stands for it in messages.
 */
uint32_t tzml_open_fd(int fd, const char *name, uint32_t world,
		      struct tzml_session **session);

/*
 * The same with a bundle in memory, `size` bytes at `data`, which stay there
 * unchanged until tzml_close.
 */
uint32_t tzml_open_memory(const void *data, size_t size, const char *name,
			  uint32_t world, struct tzml_session **session);

/*
 * Open a sealed bundle with a grant, `size` bytes at `grant`, which may be
 * given back afterwards. The functions above take the newest grant for this
 * device that is appended to the bundle. With a grant whose output policy is
 * not "full", outputs are described as the caller gets them.
 */
uint32_t tzml_open_granted(const char *path, const void *grant, size_t size,
			   uint32_t world, struct tzml_session **session);

/*
 * Make this device's identity, in the TEE, for models of these owners: public
 * keys, X and Y, 64 bytes each. `verifier` are 32 secret random bytes of
 * whoever will check the device's evidence. Sets `point` to the device's public
 * key.
 */
#define TZML_POINT_SIZE 65
uint32_t tzml_device_enroll(const uint8_t *verifier, const uint8_t *owners,
			    uint32_t owner_count, uint32_t replace,
			    uint8_t *point);

/* A hash of memory, and OP-TEE's signature of it (docs/bundle.md). */
struct tzml_report {
	uint8_t hash[32];
	uint8_t signature[512]; /* of which the first rsa_size bytes count */
};

/* What a device can prove of itself. */
struct tzml_evidence {
	uint8_t point[65];
	uint8_t reserved[7];
	uint32_t owner_count;
	uint32_t rsa_size; /* bytes; 0: this OP-TEE has no attestation */
	uint8_t owners[8][64];
	uint8_t modulus[512]; /* of OP-TEE's RSA key, whose exponent is 65537 */
	struct tzml_report ta;
	struct tzml_report core;
};

/*
 * Let OP-TEE attest this device's identity for whoever chose the 32 random
 * bytes of `nonce`. OP-TEE makes its own key when it is first asked to: that
 * takes seconds.
 */
uint32_t tzml_device_attest(const uint8_t *nonce,
			    struct tzml_evidence *evidence);

/* Set `point` to the device's public key. */
uint32_t tzml_device_key(uint8_t *point);

/*
 * Open a bundle in the TEE as a stage of a pipeline: a session whose inputs
 * come, and whose outputs go, in sealed records (docs/bundle.md). `grant`, of
 * `size` bytes, is as for tzml_open_granted, or NULL. The session makes a key
 * that dies with it; `evidence` is OP-TEE's for that key, which stands there
 * in the place of the device's, for whoever chose the 32 random bytes of
 * `nonce`.
 */
uint32_t tzml_open_stage(const char *path, const void *grant, size_t size,
			 const uint8_t *nonce, struct tzml_evidence *evidence,
			 struct tzml_session **session);

/* Bytes of the records that a stage takes, and of those that it gives. */
struct tzml_record_sizes {
	uint64_t taken;
	uint64_t given;
};

/*
 * Give a stage the release (.tzr) that the owner's verifier made for it. One
 * of a later epoch replaces it.
 */
uint32_t tzml_join(struct tzml_session *session, const void *release,
		   size_t size, struct tzml_record_sizes *sizes);

/* Run a stage on a record; `given` has room for exactly the one it gives. */
uint32_t tzml_run_record(struct tzml_session *session, const void *record,
			 size_t size, void *given, size_t given_size);

/*
 * What the grant's output policy leaves of the outputs: 0 all of them,
 * 1 indices of the k largest numbers, 2 index of the largest, 3 indices of all,
 * largest first, 4 numbers with fewer bits. Indices count along the last
 * dimension.
 */
uint32_t tzml_output_policy(const struct tzml_session *session);

/*
 * Whether the TA of this session also runs models that nobody sealed, as that
 * of a development image does: 1, or 0. A session of the normal world: 0.
 */
uint32_t tzml_takes_clear(const struct tzml_session *session);

/* Whether a grant limits how often the model is run. */
uint32_t tzml_counts_runs(const struct tzml_session *session);

/* Close a session and wipe its memory; NULL is allowed. */
void tzml_close(struct tzml_session *session);

/* The programs of the bundle, in the order in which they run. */
uint32_t tzml_program_count(const struct tzml_session *session);
void tzml_program(const struct tzml_session *session, uint32_t index,
		  struct tzml_program_info *info);
void tzml_program_use(const struct tzml_session *session, uint32_t index,
		      struct tzml_program_use *use);

/*
 * Entry points, each of one program or of several that follow each other.
 * What is said below of inputs, outputs and tzml_run is of the one that was
 * selected: 0, until another one is.
 */
uint32_t tzml_entry_count(const struct tzml_session *session);
uint32_t tzml_select(struct tzml_session *session, uint32_t entry);

/*
 * Inputs and outputs, in the order in which tzml_run takes them. An index is
 * below the count. What an info points to stays until tzml_close.
 */
uint32_t tzml_input_count(const struct tzml_session *session);
uint32_t tzml_output_count(const struct tzml_session *session);
void tzml_input(const struct tzml_session *session, uint32_t index,
		struct tzml_tensor_info *info);
void tzml_output(const struct tzml_session *session, uint32_t index,
		 struct tzml_tensor_info *info);

/*
 * Run the model once. All inputs lie back to back in `inputs`, and all outputs
 * in `outputs`; sizes in bytes. `nanoseconds`, if not NULL, is set to the wall
 * time from handing over the inputs to having the outputs.
 */
uint32_t tzml_run(struct tzml_session *session, const void *inputs,
		  size_t inputs_size, void *outputs, size_t outputs_size,
		  uint64_t *nanoseconds);

/*
 * The same for a request that may come again, with an id of any bytes. A budget
 * does not count it if this session has answered it within the last 32 such
 * requests, with the same id and the same inputs, and has repeated the answer
 * less than three times. What is counted otherwise, for instance in another
 * session, is a run as any other.
 */
uint32_t tzml_run_request(struct tzml_session *session, const void *id,
			  size_t id_size, const void *inputs,
			  size_t inputs_size, void *outputs,
			  size_t outputs_size, uint64_t *nanoseconds);

/*
 * Run the model on several samples, which lie one after the other in `inputs`,
 * and their outputs in `outputs`. The outputs have the bits that tzml_run gives
 * for each. A world runs as many at once as it has memory for, and loads for
 * all of them once what it has to load in every run; those of a model with state
 * are run one by one. After an error none of the outputs counts, though a budget
 * may have counted samples.
 */
uint32_t tzml_run_samples(struct tzml_session *session, uint32_t samples,
			  const void *inputs, size_t inputs_size, void *outputs,
			  size_t outputs_size, uint64_t *nanoseconds);

/*
 * Give the model's state its initial content again. A model without state is
 * left as it is.
 */
uint32_t tzml_reset(struct tzml_session *session);

/*
 * Checkpoints: the state of a model that is trained, as a file of docs/bundle.md.
 * What the TA saves is encrypted, for this device or, with TZML_SAVE_EXPORT, for
 * the export key of the grant. The device counts what it has saved of a sealed
 * model, and refuses older ones. So save, write it where a power cut does not
 * take it away, and then confirm.
 */
#define TZML_SAVE_EXPORT  1
#define TZML_SAVE_GIVE_UP 2 /* a checkpoint of the device, not continued here */
#define TZML_NOTE_SIZE	  64 /* bytes of the caller, which are no secret */

/* Bytes of a checkpoint of this model; 0: it has no state. */
uint64_t tzml_checkpoint_size(struct tzml_session *session);

/* Write a checkpoint to `checkpoint`, exactly that many bytes. */
uint32_t tzml_save(struct tzml_session *session, uint32_t flags,
		   const uint8_t *note, uint8_t *checkpoint, size_t size);

/* The checkpoint that was saved last is kept: older ones may be refused now. */
uint32_t tzml_confirm(struct tzml_session *session);

/*
 * Give the state the content of a checkpoint. One that is refused changes
 * nothing, unless it is damaged behind its beginning: the state is lost then,
 * until it is reset or restored.
 */
uint32_t tzml_restore(struct tzml_session *session, const uint8_t *checkpoint,
		      size_t size);

uint32_t tzml_memory(struct tzml_session *session, struct tzml_memory *memory);

/* The chunks of weights, in the bundle's order. */
uint32_t tzml_chunk_count(const struct tzml_session *session);
void tzml_chunk(const struct tzml_session *session, uint32_t index,
		struct tzml_chunk_info *info);

/* A kernel library that is installed on this device. */
struct tzml_library_info {
	char uuid[37];	  /* as `tzml inspect` shows it for a bundle */
	uint32_t version; /* of the signed image */
	uint64_t size;	  /* bytes of its code and tables */
};

/*
 * The installed kernel libraries, in the order of their UUIDs. Bundles bring
 * their own libraries, and OP-TEE checks the signature of each at each
 * opening; what is installed is only kept. `*count` is the room in `libraries`
 * before, and how many there are after the call: the first of these are written.
 */
uint32_t tzml_list_libraries(struct tzml_library_info *libraries,
			     uint32_t *count);

/*
 * Remove an installed library. A bundle that brings it installs it again.
 * Sessions that are open keep theirs.
 */
uint32_t tzml_remove_library(const char *uuid);

/* One line about the last error in this thread: what happened, and what to do. */
const char *tzml_error(void);

/* The name of a status, as in "SECTION_DIGEST". */
const char *tzml_status_name(uint32_t status);
/* cffi: end */

#ifdef __cplusplus
}
#endif

#endif /* TZML_H */

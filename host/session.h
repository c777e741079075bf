/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the library have in common. */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <tzml.h>
#include <tzml/bundle.h>
#include <tzml/interface.h>

/* How often a section was read, and how long that and its use took. */
struct section_reads {
	uint64_t count;
	uint64_t nanoseconds;
};

/* How often a program was run, and how long that took. */
struct program_runs {
	uint64_t count;
	uint64_t nanoseconds;
};

/* A bundle: a file, or bytes that the caller keeps. */
struct bundle {
	int fd;		       /* -1: it is in memory */
	const uint8_t *memory; /* NULL: it is a file */
	size_t memory_size;
	char *name;		    /* for messages: the path, if it has one */
	struct tzml_header *header; /* with the section table */
	size_t header_size;
	struct section_reads *reads; /* of each section */
	/* grants: the one that was given, or those behind the last section */
	uint8_t *grants;
	size_t grants_size;
};

/* One of a bundle's grants. */
struct grant {
	const void *data; /* NULL: there is none */
	size_t size;
};

/* The id of a request that may come again. */
struct request_id {
	const void *data;
	size_t size;
};

/* What a session begins with that is to be a stage of a pipeline. */
struct stage_begin {
	const uint8_t *nonce; /* NULL: it is not to be one */
	struct tzml_evidence *evidence;
};

/*
 * A world: how to open, run and close. `state` is the world's own; the bundle
 * stays open as long as it, for chunks of weights that are loaded in a run.
 */
struct world {
	enum tzml_worlds bit;
	enum tzml_status (*open)(void **state, const struct bundle *bundle,
				 const struct stage_begin *begin);
	/* Make room for the inputs of any program, and for the outputs. */
	enum tzml_status (*reserve)(void *state, size_t inputs_size,
				    size_t outputs_size);
	/* `request` is NULL if it has no id. */
	enum tzml_status (*run)(void *state, uint32_t program,
				const struct request_id *request,
				const void *inputs, size_t inputs_size,
				void *outputs, size_t outputs_size);
	/*
	 * The same for several samples at once, back to back. Nothing was run
	 * or counted, and fewer may do, after TZML_ERROR_MEMORY and _BUSY; one
	 * by one does after _BATCH_PROGRAM.
	 */
	enum tzml_status (*run_samples)(void *state, uint32_t program,
					uint32_t samples, const void *inputs,
					size_t inputs_size, void *outputs,
					size_t outputs_size);
	/* NULL, as the next one, in a world without stages. */
	enum tzml_status (*join)(void *state, const void *release, size_t size,
				 struct tzml_record_sizes *sizes);
	enum tzml_status (*run_record)(void *state, const void *record,
				       size_t size, void *given,
				       size_t given_size);
	enum tzml_status (*reset)(void *state);
	/*
	 * Write a whole checkpoint, or read one; and say that the last that was
	 * written is kept. Sizes are right as far as the normal world can tell.
	 */
	enum tzml_status (*save)(void *state, uint32_t flags,
				 const uint8_t note[TZML_NOTE_SIZE],
				 uint8_t *checkpoint, size_t size);
	enum tzml_status (*confirm)(void *state);
	enum tzml_status (*restore)(void *state, const uint8_t *checkpoint,
				    size_t size);
	enum tzml_status (*memory)(void *state, struct tzml_memory *memory);
	/* The grant that it was opened with, or none. */
	struct grant (*grant)(void *state);
	/* Whether it also runs what nobody sealed; NULL: that means nothing. */
	bool (*takes_clear)(void *state);
	void (*close)(void *state);
};

extern const struct world ree_world;
extern const struct world tee_world;

/* A world in which a session's model is open. */
struct opened {
	const struct world *world;
	void *state; /* NULL: it is not open there */
};

struct tzml_session {
	struct bundle bundle;
	struct stage_begin begin;
	void *interface_data;
	struct tzml_interface interface;
	struct opened worlds[2]; /* the one that was asked for comes first */
	uint32_t output_policy;	 /* enum tzml_output_policy */
	uint32_t entry;		 /* the entry point that was selected */
	uint32_t most_samples;	 /* that its world takes at once */
	struct program_runs runs[TZML_MAX_PROGRAMS];
	/* numbers of its tensors */
	uint32_t inputs[TZML_MAX_TENSORS];
	uint32_t outputs[TZML_MAX_TENSORS];
	uint32_t input_count;
	uint32_t output_count;
	/* where entry points of several programs have their values (entry.c) */
	uint8_t *scratch;
	size_t scratch_size;
};

/* file.c */

/* Begin with a file, which the bundle owns from now on, or with bytes. */
enum tzml_status bundle_open_fd(struct bundle *bundle, int fd,
				const char *name);
enum tzml_status bundle_open_memory(struct bundle *bundle, const void *data,
				    size_t size, const char *name);
void bundle_close(struct bundle *bundle);

/*
 * Read a section piece by piece into `buffer` and hand each piece to `take`,
 * which gets its place in the section. Stops at the first error.
 */
enum tzml_status
bundle_read(const struct bundle *bundle, uint32_t section, void *buffer,
	    size_t buffer_size,
	    enum tzml_status (*take)(void *state, uint32_t section,
				     uint64_t offset, size_t size),
	    void *state);

/*
 * Read the interface into memory of its own. The header is one that a world
 * has checked; the interface is checked again, since the file may have changed.
 */
enum tzml_status bundle_read_interface(const struct bundle *bundle, void **data,
				       struct tzml_interface *interface);

/* Read what follows the last section. */
enum tzml_status bundle_read_grants(struct bundle *bundle);

/* Nanoseconds of a clock that only goes on. */
uint64_t now(void);

/* grants.c */

/* Whether the TEE wants a grant for the bundle. */
bool bundle_is_sealed(const struct bundle *bundle);

/*
 * Of the bundle's grants, the newest for the device with that public key; if
 * there is none, any: the TA says what is wrong with it.
 */
struct grant choose_grant(const struct bundle *bundle,
			  const uint8_t point[TZML_POINT_SIZE]);

/* Whether a grant limits how often the model is run; none does not. */
bool has_budget(struct grant grant);

/* Describe the outputs as the grant's policy leaves them; which policy it is. */
uint32_t apply_policy(struct grant grant, struct tzml_interface *interface);

/* entry.c */

/* Make an entry point the one that is run. */
enum tzml_status select_entry(struct tzml_session *session, uint32_t entry);

/* The open world that runs a program, or NULL. */
const struct opened *world_of(const struct tzml_session *session,
			      uint32_t program);

/* Bytes of a program's inputs and outputs, back to back. */
struct port_sizes {
	size_t inputs;
	size_t outputs;
};

struct port_sizes sizes_of(const struct tzml_interface *interface,
			   uint32_t program);

/* Give back what entry points have their values in. */
void free_scratch(struct tzml_session *session);

/*
 * Run the programs of the selected entry point, one after the other. `request`
 * is NULL if there is no id.
 */
enum tzml_status run_entry(struct tzml_session *session,
			   const struct request_id *request, const void *inputs,
			   size_t inputs_size, void *outputs,
			   size_t outputs_size);

/* The only program of the selected entry point, if it has the caller's ports. */
bool has_one_program(const struct tzml_session *session, uint32_t *program);

/* error.c */

/*
 * Remember an error for tzml_error(): the status' own words, what it is about
 * (printf format, may be NULL), and the remedy. Returns the status.
 */
enum tzml_status fail(enum tzml_status status, const char *about, ...)
	__attribute__((format(printf, 2, 3)));

#endif /* SESSION_H */

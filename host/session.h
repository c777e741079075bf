/* SPDX-License-Identifier: Apache-2.0 */
/* What the two worlds have in common. */
#ifndef SESSION_H
#define SESSION_H

#include <tzml.h>
#include <tzml/bundle.h>

/* How often a section was read, and how long that and its use took. */
struct section_reads {
	uint64_t count;
	uint64_t nanoseconds;
};

struct bundle_file {
	int fd;
	char *path;
	struct tzml_header *header; /* with the section table */
	size_t header_size;
	struct section_reads *reads; /* of each section */
};

/*
 * A world: how to open, run and close. `state` is the world's own; the file
 * stays open as long as it, for chunks of weights that are loaded in a run.
 */
struct world {
	enum tzml_status (*open)(void **state, const struct bundle_file *file);
	/* The tensors, inputs first; they stay valid until close. */
	enum tzml_status (*describe)(void *state, const struct tzml_tensor **,
				     uint32_t *inputs, uint32_t *outputs);
	enum tzml_status (*run)(void *state, const void *inputs,
				size_t inputs_size, void *outputs,
				size_t outputs_size);
	enum tzml_status (*memory)(void *state, struct tzml_memory *memory);
	void (*close)(void *state);
};

extern const struct world ree_world;
extern const struct world tee_world;

/*
 * Read a section of the file piece by piece into `buffer` and hand each piece
 * to `take`, which gets its place in the section. Stops at the first error.
 */
enum tzml_status
bundle_read(const struct bundle_file *file, uint32_t section, void *buffer,
	    size_t buffer_size,
	    enum tzml_status (*take)(void *state, uint32_t section,
				     uint64_t offset, size_t size),
	    void *state);

/*
 * Remember an error for tzml_error(): the status' own words, what it is about
 * (printf format, may be NULL), and the remedy. Returns the status.
 */
enum tzml_status fail(enum tzml_status status, const char *about, ...)
	__attribute__((format(printf, 2, 3)));

#endif /* SESSION_H */

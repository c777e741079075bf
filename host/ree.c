// SPDX-License-Identifier: Apache-2.0
/*
 * The normal world: the same runtime and the same kernels as in the TA, in
 * this process. The baseline that the secure world is compared with.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <tzml/model.h>
#include <unistd.h>

#include "digest.h"
#include "session.h"

/*
 * A library has no path of its own: it is a file in memory, which stays open
 * because dlopen takes two libraries of one name for the same.
 */
struct library {
	void *handle; /* from dlopen */
	int fd;
};

struct ree_state {
	const struct bundle *bundle;
	struct tzml_model model;
	struct digest *digest;
	struct library libraries[TZML_MAX_LIBRARIES];
	uint32_t library_count;
	uint64_t mapped;
	uint64_t mapped_peak;
	uint8_t piece[64 * 1024];
};

static void *allocate(void *context, size_t size)
{
	struct ree_state *state = context;
	void *memory = NULL;

	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	state->mapped += size;
	if (state->mapped_peak < state->mapped)
		state->mapped_peak = state->mapped;
	return memory;
}

static void release(void *context, void *memory, size_t size)
{
	struct ree_state *state = context;

	munmap(memory, size);
	state->mapped -= size;
}

static enum tzml_status digest_start(void *context)
{
	struct ree_state *state = context;

	return digest_begin(state->digest) ? TZML_SUCCESS : TZML_ERROR_PLATFORM;
}

static enum tzml_status digest_update(void *context, const void *data,
				      size_t size)
{
	struct ree_state *state = context;

	return digest_add(state->digest, data, size) ? TZML_SUCCESS
						     : TZML_ERROR_PLATFORM;
}

static enum tzml_status digest_finish(void *context,
				      uint8_t digest[TZML_DIGEST_SIZE])
{
	struct ree_state *state = context;

	return digest_end(state->digest, digest) ? TZML_SUCCESS
						 : TZML_ERROR_PLATFORM;
}

static enum tzml_status random_bytes(void *context, void *data, size_t size)
{
	uint8_t *to = data;

	(void)context;
	while (size) {
		ssize_t count = getrandom(to, size, 0);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return TZML_ERROR_PLATFORM;
		to += count;
		size -= (size_t)count;
	}
	return TZML_SUCCESS;
}

static void close_kernels(void *context)
{
	struct ree_state *state = context;

	while (state->library_count) {
		struct library *library =
			state->libraries + --state->library_count;

		if (library->handle)
			dlclose(library->handle);
		close(library->fd);
	}
}

static bool write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t count = write(fd, data, size);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return false;
		data += count;
		size -= (size_t)count;
	}
	return true;
}

static bool load_library(struct library *library, const void *image,
			 size_t size)
{
	char path[sizeof("/proc/self/fd/") + 10] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", library->fd);
	if (write_all(library->fd, image, size))
		library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	return library->handle;
}

static enum tzml_status open_kernels(void *context,
				     const uint8_t digest[TZML_DIGEST_SIZE],
				     const void *image, size_t size,
				     struct tzml_kernels *kernels)
{
	struct ree_state *state = context;
	struct library *library = state->libraries + state->library_count;
	struct tzml_kernels found = { 0 };
	void *call = NULL;

	(void)digest; /* the runtime compares it */
	if (state->library_count == TZML_MAX_LIBRARIES)
		return TZML_ERROR_LIMIT;
	library->handle = NULL;
	library->fd = memfd_create("tzml-kernels", MFD_CLOEXEC);
	if (library->fd < 0)
		return TZML_ERROR_MEMORY;
	state->library_count++;
	if (!load_library(library, image, size))
		return TZML_ERROR_KERNELS_REFUSED;
	found.table = dlsym(library->handle, TZML_KERNELS_SYMBOL);
	call = dlsym(library->handle, TZML_CALL_SYMBOL);
	if (!found.table || !call)
		return TZML_ERROR_KERNELS_CHANGED;
	/* POSIX's own way from an object pointer to a function pointer */
	memcpy(&found.call, &call, sizeof(call));
	*kernels = found;
	return TZML_SUCCESS;
}

static const struct tzml_platform ree_platform = {
#if defined(__aarch64__)
	.target = TZML_TARGET_AARCH64,
#elif defined(__x86_64__)
	.target = TZML_TARGET_X86_64,
#else
#error "no kernels for this processor"
#endif
	.world = TZML_IN_REE,
	.allocate = allocate,
	.release = release,
	.digest_start = digest_start,
	.digest_update = digest_update,
	.digest_finish = digest_finish,
	.random = random_bytes,
	.open_kernels = open_kernels,
	.close_kernels = close_kernels,
};

static enum tzml_status take_piece(void *opaque, uint32_t section,
				   uint64_t offset, size_t size)
{
	struct ree_state *state = opaque;
	enum tzml_status status = TZML_SUCCESS;

	status = tzml_model_load(&state->model, section, offset, state->piece,
				 size);
	return status ? fail(status, "%s", state->bundle->name) : status;
}

/* Load whatever the model asks for. */
static enum tzml_status load(struct ree_state *state)
{
	enum tzml_status status = TZML_SUCCESS;
	uint32_t section = TZML_NO_SECTION;

	while (!status &&
	       (section = tzml_model_wanted(&state->model)) != TZML_NO_SECTION)
		status = bundle_read(state->bundle, section, state->piece,
				     sizeof(state->piece), take_piece, state);
	return status;
}

static void ree_close(void *opaque)
{
	struct ree_state *state = opaque;

	tzml_model_close(&state->model);
	digest_free(state->digest);
	free(state);
}

static enum tzml_status ree_open(void **result, const struct bundle *bundle,
				 const struct stage_begin *begin)
{
	enum tzml_status status = TZML_SUCCESS;
	struct ree_state *state = NULL;

	(void)begin; /* the secure world's part is the stage */
	state = calloc(1, sizeof(*state));
	if (!state)
		return fail(TZML_ERROR_MEMORY, NULL);
	*result = state;
	state->bundle = bundle;
	state->digest = digest_new();
	if (!state->digest)
		return fail(TZML_ERROR_MEMORY, NULL);

	status = tzml_model_open(&state->model, &ree_platform, state,
				 bundle->header, bundle->header_size);
	return status ? fail(status, "%s", bundle->name) : load(state);
}

/* Inputs and outputs are copied from and to where the caller has them. */
static enum tzml_status ree_reserve(void *opaque, size_t inputs_size,
				    size_t outputs_size)
{
	(void)opaque;
	(void)inputs_size;
	(void)outputs_size;
	return TZML_SUCCESS;
}

static enum tzml_status ree_run(void *opaque, uint32_t program,
				const struct request_id *request,
				const void *inputs, size_t inputs_size,
				void *outputs, size_t outputs_size)
{
	struct ree_state *state = opaque;
	enum tzml_status status = TZML_SUCCESS;

	(void)request; /* there is no budget */
	status = tzml_model_start(&state->model, program, inputs, inputs_size);
	if (status)
		return fail(status, "%s", state->bundle->name);
	do {
		status = tzml_model_continue(&state->model, outputs,
					     outputs_size);
		if (status)
			return fail(status, "%s", state->bundle->name);
		status = load(state);
	} while (!status && tzml_model_running(&state->model));
	return status;
}

static enum tzml_status ree_run_samples(void *opaque, uint32_t program,
					uint32_t samples, const void *inputs,
					size_t inputs_size, void *outputs,
					size_t outputs_size)
{
	struct ree_state *state = opaque;
	enum tzml_status status =
		tzml_batch_start(&state->model, program, samples);

	if (status)
		return fail(status, "%s", state->bundle->name);
	do {
		status = tzml_batch_continue(&state->model, inputs, inputs_size,
					     outputs, outputs_size);
		if (status)
			return fail(status, "%s", state->bundle->name);
		status = load(state);
	} while (!status && tzml_model_running(&state->model));
	return status;
}

static enum tzml_status ree_reset(void *opaque)
{
	struct ree_state *state = opaque;
	enum tzml_status status = tzml_model_reset(&state->model);

	return status ? fail(status, "%s", state->bundle->name) : load(state);
}

static enum tzml_status ree_save(void *opaque, uint32_t flags,
				 const uint8_t note[TZML_NOTE_SIZE],
				 uint8_t *checkpoint, size_t size)
{
	struct ree_state *state = opaque;
	struct tzml_model *model = &state->model;
	const uint8_t *end = checkpoint + size;
	enum tzml_status status =
		tzml_model_save(model, flags, note, checkpoint);
	uint8_t *at = checkpoint + sizeof(struct tzml_checkpoint);
	size_t segment = 0;

	while (!status && (segment = tzml_model_segment(model))) {
		if (segment > (size_t)(end - at))
			return fail(TZML_ERROR_OUTPUT_SIZE, NULL);
		status = tzml_model_save_segment(model, at, segment);
		at += segment;
	}
	return status ? fail(status, "%s", state->bundle->name) : status;
}

static enum tzml_status ree_confirm(void *opaque)
{
	struct ree_state *state = opaque;
	enum tzml_status status = tzml_model_confirm(&state->model);

	return status ? fail(status, "%s", state->bundle->name) : status;
}

static enum tzml_status ree_restore(void *opaque, const uint8_t *checkpoint,
				    size_t size)
{
	struct ree_state *state = opaque;
	struct tzml_model *model = &state->model;
	const uint8_t *end = checkpoint + size;
	const uint8_t *at = checkpoint + sizeof(struct tzml_checkpoint);
	enum tzml_status status = tzml_model_restore(
		model, checkpoint, sizeof(struct tzml_checkpoint));
	size_t segment = 0;

	while (!status && (segment = tzml_model_segment(model))) {
		if (segment > (size_t)(end - at))
			return fail(TZML_ERROR_CHECKPOINT_MALFORMED, NULL);
		status = tzml_model_restore_segment(model, at, segment);
		at += segment;
	}
	return status ? fail(status, "%s", state->bundle->name) : status;
}

static enum tzml_status ree_memory(void *opaque, struct tzml_memory *memory)
{
	const struct ree_state *state = opaque;

	memory->arena = state->model.arena.size;
	memory->weights = state->model.weights.size;
	memory->state = state->model.state_memory.size;
	memory->tables = state->model.tables.size;
	memory->mapped = state->mapped;
	memory->mapped_peak = state->mapped_peak;
	return TZML_SUCCESS;
}

const struct world ree_world = {
	.bit = TZML_IN_REE,
	.open = ree_open,
	.reserve = ree_reserve,
	.run = ree_run,
	.run_samples = ree_run_samples,
	.reset = ree_reset,
	.save = ree_save,
	.confirm = ree_confirm,
	.restore = ree_restore,
	.memory = ree_memory,
	.close = ree_close,
};

// SPDX-License-Identifier: Apache-2.0
/* The library's functions: host/include/tzml.h says what each does. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session.h"

static const struct world *find_world(uint32_t world)
{
	switch (world) {
	case TZML_WORLD_REE:
		return &ree_world;
#ifdef TZML_WITH_TEE
	case TZML_WORLD_TEE:
		return &tee_world;
#endif
	default:
		return NULL;
	}
}

static enum tzml_status open_world(struct tzml_session *session, size_t number,
				   const struct world *world)
{
	session->worlds[number].world = world;
	return world->open(&session->worlds[number].state, &session->bundle,
			   &session->begin);
}

/* Whether a program runs in none of the worlds that are open. */
static bool lacks_a_world(const struct tzml_session *session)
{
	for (uint32_t i = 0; i < session->interface.header->program_count; i++)
		if (!world_of(session, i))
			return true;
	return false;
}

/* Let each open world make room for the largest of its programs. */
static enum tzml_status reserve(const struct tzml_session *session)
{
	const struct tzml_interface *interface = &session->interface;
	enum tzml_status status = TZML_SUCCESS;

	for (size_t i = 0; !status && i < 2; i++) {
		const struct opened *opened = session->worlds + i;
		size_t inputs_size = 0;
		size_t outputs_size = 0;

		if (!opened->state)
			continue;
		for (uint32_t j = 0; j < interface->header->program_count;
		     j++) {
			struct port_sizes sizes = sizes_of(interface, j);

			if (world_of(session, j) != opened)
				continue;
			if (inputs_size < sizes.inputs)
				inputs_size = sizes.inputs;
			if (outputs_size < sizes.outputs)
				outputs_size = sizes.outputs;
		}
		status = opened->world->reserve(opened->state, inputs_size,
						outputs_size);
	}
	return status;
}

/*
 * Open the model in the world that was asked for, which checks the bundle. In
 * the TEE, programs that only the normal world may run are opened there.
 */
static enum tzml_status open_session(struct tzml_session *session,
				     const struct world *world)
{
	enum tzml_status status = bundle_read_grants(&session->bundle);

	if (!status)
		status = open_world(session, 0, world);

	if (!status)
		status = bundle_read_interface(&session->bundle,
					       &session->interface_data,
					       &session->interface);
	if (!status && world->grant)
		session->output_policy =
			apply_policy(world->grant(session->worlds[0].state),
				     &session->interface);
	if (!status && world != &ree_world && lacks_a_world(session))
		status = open_world(session, 1, &ree_world);
	if (!status)
		status = reserve(session);
	return status ? status : select_entry(session, 0);
}

/* `open_bundle` failed, or the session is opened from here on. */
static enum tzml_status finish_open(struct tzml_session *session,
				    enum tzml_status status, uint32_t world,
				    struct tzml_session **result)
{
	if (!status)
		status = open_session(session, find_world(world));
	if (status) {
		tzml_close(session);
		return status;
	}
	*result = session;
	return TZML_SUCCESS;
}

static enum tzml_status new_session(uint32_t world,
				    struct tzml_session **session,
				    struct tzml_session **result)
{
	*result = NULL;
	if (!find_world(world))
		return fail(TZML_ERROR_WORLD, NULL);
	*session = calloc(1, sizeof(**session));
	if (!*session)
		return fail(TZML_ERROR_MEMORY, NULL);
	(*session)->bundle.fd = -1;
	return TZML_SUCCESS;
}

static enum tzml_status open_path(struct bundle *bundle, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? fail(TZML_ERROR_FILE, "%s: %s", path, strerror(errno))
		      : bundle_open_fd(bundle, fd, path);
}

uint32_t tzml_open(const char *path, uint32_t world,
		   struct tzml_session **result)
{
	struct tzml_session *session = NULL;
	enum tzml_status status = new_session(world, &session, result);

	if (status)
		return status;
	return finish_open(session, open_path(&session->bundle, path), world,
			   result);
}

static enum tzml_status keep_grant(struct bundle *bundle, const void *grant,
				   size_t size)
{
	bundle->grants = malloc(size + 1); /* none of no bytes is asked for */
	if (!bundle->grants)
		return fail(TZML_ERROR_MEMORY, NULL);
	memcpy(bundle->grants, grant, size);
	bundle->grants_size = size;
	return TZML_SUCCESS;
}

uint32_t tzml_open_granted(const char *path, const void *grant, size_t size,
			   uint32_t world, struct tzml_session **result)
{
	struct tzml_session *session = NULL;
	enum tzml_status status = new_session(world, &session, result);

	if (status)
		return status;
	status = keep_grant(&session->bundle, grant, size);
	if (!status)
		status = open_path(&session->bundle, path);
	return finish_open(session, status, world, result);
}

uint32_t tzml_open_stage(const char *path, const void *grant, size_t size,
			 const uint8_t *nonce, struct tzml_evidence *evidence,
			 struct tzml_session **result)
{
	struct tzml_session *session = NULL;
	enum tzml_status status = new_session(TZML_WORLD_TEE, &session, result);

	if (status)
		return status;
	session->begin = (struct stage_begin){ nonce, evidence };
	if (grant)
		status = keep_grant(&session->bundle, grant, size);
	if (!status)
		status = open_path(&session->bundle, path);
	status = finish_open(session, status, TZML_WORLD_TEE, result);
	/* both are the caller's */
	if (!status)
		(*result)->begin = (struct stage_begin){ NULL, NULL };
	return status;
}

uint32_t tzml_open_fd(int fd, const char *name, uint32_t world,
		      struct tzml_session **result)
{
	struct tzml_session *session = NULL;
	enum tzml_status status = new_session(world, &session, result);
	int own = -1;

	if (status)
		return status;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	status =
		own < 0 ? fail(TZML_ERROR_FILE, "%s: %s", name, strerror(errno))
			: bundle_open_fd(&session->bundle, own, name);
	return finish_open(session, status, world, result);
}

uint32_t tzml_open_memory(const void *data, size_t size, const char *name,
			  uint32_t world, struct tzml_session **result)
{
	struct tzml_session *session = NULL;
	enum tzml_status status = new_session(world, &session, result);

	if (!status)
		status = bundle_open_memory(&session->bundle, data, size, name);
	return session ? finish_open(session, status, world, result) : status;
}

void tzml_close(struct tzml_session *session)
{
	if (!session)
		return;
	for (size_t i = 0; i < 2; i++)
		if (session->worlds[i].state)
			session->worlds[i].world->close(
				session->worlds[i].state);
	bundle_close(&session->bundle);
	free(session->interface_data);
	free_scratch(session);
	free(session);
}

static const char *name_at(const struct tzml_session *session, uint32_t offset)
{
	return session->interface.strings + offset;
}

uint32_t tzml_program_count(const struct tzml_session *session)
{
	return session->interface.header->program_count;
}

void tzml_program(const struct tzml_session *session, uint32_t index,
		  struct tzml_program_info *info)
{
	const struct tzml_program *program =
		session->interface.programs + index;
	const struct opened *opened = world_of(session, index);

	info->name = name_at(session, program->name);
	info->role = program->role;
	info->entry = program->entry;
	info->world = !opened			    ? TZML_WORLD_NONE
		      : opened->world == &ree_world ? TZML_WORLD_REE
						    : TZML_WORLD_TEE;
}

void tzml_program_use(const struct tzml_session *session, uint32_t index,
		      struct tzml_program_use *use)
{
	struct port_sizes sizes = sizes_of(&session->interface, index);

	use->runs = session->runs[index].count;
	use->nanoseconds = session->runs[index].nanoseconds;
	use->input_size = sizes.inputs;
	use->output_size = sizes.outputs;
}

uint32_t tzml_entry_count(const struct tzml_session *session)
{
	const struct tzml_interface *interface = &session->interface;

	return interface->programs[interface->header->program_count - 1].entry +
	       1;
}

uint32_t tzml_select(struct tzml_session *session, uint32_t entry)
{
	return select_entry(session, entry);
}

uint32_t tzml_input_count(const struct tzml_session *session)
{
	return session->input_count;
}

uint32_t tzml_output_count(const struct tzml_session *session)
{
	return session->output_count;
}

uint32_t tzml_output_policy(const struct tzml_session *session)
{
	return session->output_policy;
}

uint32_t tzml_counts_runs(const struct tzml_session *session)
{
	const struct opened *opened = session->worlds;

	return opened->world->grant &&
	       has_budget(opened->world->grant(opened->state));
}

uint32_t tzml_takes_clear(const struct tzml_session *session)
{
	const struct opened *opened = session->worlds;

	return opened->world->takes_clear &&
	       opened->world->takes_clear(opened->state);
}

static void describe_tensor(const struct tzml_session *session, uint32_t number,
			    struct tzml_tensor_info *info)
{
	const struct tzml_tensor *tensor = session->interface.tensors + number;

	info->name = name_at(session, tensor->name);
	info->dtype = tensor->dtype;
	info->dimension_count = tensor->dimension_count;
	info->dimensions = tensor->dimensions;
	info->size = tensor->size;
}

void tzml_input(const struct tzml_session *session, uint32_t index,
		struct tzml_tensor_info *info)
{
	describe_tensor(session, session->inputs[index], info);
}

void tzml_output(const struct tzml_session *session, uint32_t index,
		 struct tzml_tensor_info *info)
{
	describe_tensor(session, session->outputs[index], info);
}

uint32_t tzml_run(struct tzml_session *session, const void *inputs,
		  size_t inputs_size, void *outputs, size_t outputs_size,
		  uint64_t *nanoseconds)
{
	uint64_t start = now();
	enum tzml_status status = run_entry(session, NULL, inputs, inputs_size,
					    outputs, outputs_size);

	if (nanoseconds)
		*nanoseconds = now() - start;
	return status;
}

uint32_t tzml_run_request(struct tzml_session *session, const void *id,
			  size_t id_size, const void *inputs,
			  size_t inputs_size, void *outputs,
			  size_t outputs_size, uint64_t *nanoseconds)
{
	const struct request_id request = { id, id_size };
	uint64_t start = now();
	enum tzml_status status = run_entry(session, &request, inputs,
					    inputs_size, outputs, outputs_size);

	if (nanoseconds)
		*nanoseconds = now() - start;
	return status;
}

uint32_t tzml_join(struct tzml_session *session, const void *release,
		   size_t size, struct tzml_record_sizes *sizes)
{
	const struct opened *opened = session->worlds;

	if (!opened->world->join)
		return fail(TZML_ERROR_WORLD, "stages are in the TEE");
	return opened->world->join(opened->state, release, size, sizes);
}

uint32_t tzml_run_record(struct tzml_session *session, const void *record,
			 size_t size, void *given, size_t given_size)
{
	const struct opened *opened = session->worlds;

	if (!opened->world->run_record)
		return fail(TZML_ERROR_WORLD, "stages are in the TEE");
	return opened->world->run_record(opened->state, record, size, given,
					 given_size);
}

uint32_t tzml_reset(struct tzml_session *session)
{
	for (size_t i = 0; i < 2; i++) {
		const struct opened *opened = session->worlds + i;
		enum tzml_status status = TZML_SUCCESS;

		if (opened->state)
			status = opened->world->reset(opened->state);
		if (status)
			return status;
	}
	return TZML_SUCCESS;
}

uint32_t tzml_memory(struct tzml_session *session, struct tzml_memory *memory)
{
	memset(memory, 0, sizeof(*memory));
	return session->worlds[0].world->memory(session->worlds[0].state,
						memory);
}

/* The section of the first chunk of weights, and how many there are. */
static uint32_t chunk_sections(const struct tzml_session *session,
			       uint32_t *first)
{
	const struct tzml_header *header = session->bundle.header;
	uint32_t count = 0;

	*first = 0;
	for (uint32_t i = 0; i < header->section_count; i++) {
		if (tzml_bundle_sections(header)[i].type !=
		    TZML_SECTION_WEIGHTS)
			continue;
		if (!count)
			*first = i;
		count++;
	}
	return count;
}

uint32_t tzml_chunk_count(const struct tzml_session *session)
{
	uint32_t first = 0;

	return chunk_sections(session, &first);
}

void tzml_chunk(const struct tzml_session *session, uint32_t index,
		struct tzml_chunk_info *info)
{
	uint32_t first = 0;

	chunk_sections(session, &first);
	info->size = tzml_bundle_sections(session->bundle.header)[first + index]
			     .size;
	info->loads = session->bundle.reads[first + index].count;
	info->nanoseconds = session->bundle.reads[first + index].nanoseconds;
}

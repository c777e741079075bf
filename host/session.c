// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "session.h"

struct tzml_session {
	const struct world *world;
	void *state;
	struct bundle_file file;
	const struct tzml_tensor *tensors;
	uint32_t input_count;
	uint32_t output_count;
};

static uint64_t now(void)
{
	struct timespec time = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Read exactly `size` bytes. */
static enum tzml_status read_at(const struct bundle_file *file, void *data,
				size_t size, uint64_t offset)
{
	uint8_t *to = data;

	while (size) {
		ssize_t count = pread(file->fd, to, size, (off_t)offset);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return fail(TZML_ERROR_FILE, "%s: %s", file->path,
				    strerror(errno));
		if (!count)
			return fail(TZML_ERROR_TRUNCATED, "%s", file->path);
		to += count;
		offset += (uint64_t)count;
		size -= (size_t)count;
	}
	return TZML_SUCCESS;
}

enum tzml_status
bundle_read(const struct bundle_file *file, uint32_t section, void *buffer,
	    size_t buffer_size,
	    enum tzml_status (*take)(void *state, uint32_t section,
				     uint64_t offset, size_t size),
	    void *state)
{
	const struct tzml_section *entry =
		tzml_bundle_sections(file->header) + section;
	enum tzml_status status = TZML_SUCCESS;
	uint64_t start = now();
	uint64_t offset = 0;

	while (!status && offset < entry->size) {
		uint64_t left = entry->size - offset;
		size_t size = left < buffer_size ? left : buffer_size;

		status = read_at(file, buffer, size, entry->offset + offset);
		if (!status)
			status = take(state, section, offset, size);
		offset += size;
	}
	file->reads[section].count++;
	file->reads[section].nanoseconds += now() - start;
	return status;
}

/*
 * Read the header and its section table. What lies in them is checked by the
 * world that uses the bundle; here only as far as it takes to read the file.
 */
static enum tzml_status read_header(struct bundle_file *file)
{
	struct tzml_header start = { 0 };
	enum tzml_status status = TZML_SUCCESS;
	struct stat stat = { 0 };

	status = read_at(file, &start, sizeof(start), 0);
	if (status == TZML_ERROR_TRUNCATED &&
	    memcmp(start.magic, TZML_MAGIC, sizeof(start.magic)))
		return fail(TZML_ERROR_NOT_A_BUNDLE, "%s", file->path);
	if (status)
		return status;
	status = tzml_bundle_header_size(&start, &file->header_size);
	if (status)
		return fail(status, "%s", file->path);
	if (fstat(file->fd, &stat))
		return fail(TZML_ERROR_FILE, "%s: %s", file->path,
			    strerror(errno));
	if ((uint64_t)stat.st_size < start.bundle_size)
		return fail(TZML_ERROR_TRUNCATED,
			    "%s has %llu bytes instead of %llu", file->path,
			    (unsigned long long)stat.st_size,
			    (unsigned long long)start.bundle_size);

	file->header = calloc(1, file->header_size);
	file->reads = calloc(start.section_count, sizeof(*file->reads));
	if (!file->header || !file->reads)
		return fail(TZML_ERROR_MEMORY, "%s", file->path);
	return read_at(file, file->header, file->header_size, 0);
}

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

static enum tzml_status open_file(struct bundle_file *file, const char *path)
{
	file->path = strdup(path);
	if (!file->path)
		return fail(TZML_ERROR_MEMORY, NULL);
	file->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (file->fd < 0)
		return fail(TZML_ERROR_FILE, "%s: %s", path, strerror(errno));
	return read_header(file);
}

static void close_file(struct bundle_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	free(file->reads);
	free(file->header);
	free(file->path);
}

uint32_t tzml_open(const char *path, uint32_t world,
		   struct tzml_session **result)
{
	struct tzml_session *session = NULL;
	enum tzml_status status = TZML_SUCCESS;

	*result = NULL;
	if (!find_world(world))
		return fail(TZML_ERROR_WORLD, NULL);
	session = calloc(1, sizeof(*session));
	if (!session)
		return fail(TZML_ERROR_MEMORY, NULL);
	session->world = find_world(world);
	session->file.fd = -1;

	status = open_file(&session->file, path);
	if (!status)
		status = session->world->open(&session->state, &session->file);
	if (!status)
		status = session->world->describe(
			session->state, &session->tensors,
			&session->input_count, &session->output_count);
	if (status) {
		tzml_close(session);
		return status;
	}
	*result = session;
	return TZML_SUCCESS;
}

void tzml_close(struct tzml_session *session)
{
	if (!session)
		return;
	if (session->state)
		session->world->close(session->state);
	close_file(&session->file);
	free(session);
}

uint32_t tzml_input_count(const struct tzml_session *session)
{
	return session->input_count;
}

uint32_t tzml_output_count(const struct tzml_session *session)
{
	return session->output_count;
}

static void describe_tensor(const struct tzml_tensor *tensor,
			    struct tzml_tensor_info *info)
{
	info->name = tensor->name;
	info->dtype = tensor->dtype;
	info->dimension_count = tensor->dimension_count;
	info->dimensions = tensor->dimensions;
	info->size = tensor->size;
}

void tzml_input(const struct tzml_session *session, uint32_t index,
		struct tzml_tensor_info *info)
{
	describe_tensor(session->tensors + index, info);
}

void tzml_output(const struct tzml_session *session, uint32_t index,
		 struct tzml_tensor_info *info)
{
	describe_tensor(session->tensors + session->input_count + index, info);
}

uint32_t tzml_run(struct tzml_session *session, const void *inputs,
		  size_t inputs_size, void *outputs, size_t outputs_size,
		  uint64_t *nanoseconds)
{
	uint64_t start = now();
	enum tzml_status status = session->world->run(
		session->state, inputs, inputs_size, outputs, outputs_size);

	if (nanoseconds)
		*nanoseconds = now() - start;
	return status;
}

uint32_t tzml_chunk_count(const struct tzml_session *session)
{
	const struct tzml_header *header = session->file.header;
	const struct tzml_section *sections = tzml_bundle_sections(header);
	uint32_t count = 0;

	for (uint32_t i = 0; i < header->section_count; i++)
		count += sections[i].type == TZML_SECTION_WEIGHTS;
	return count;
}

void tzml_chunk(const struct tzml_session *session, uint32_t index,
		struct tzml_chunk_info *info)
{
	const struct bundle_file *file = &session->file;
	uint32_t section =
		tzml_bundle_find(file->header, TZML_SECTION_WEIGHTS, index);

	info->size = tzml_bundle_sections(file->header)[section].size;
	info->loads = file->reads[section].count;
	info->nanoseconds = file->reads[section].nanoseconds;
}

uint32_t tzml_memory(struct tzml_session *session, struct tzml_memory *memory)
{
	memset(memory, 0, sizeof(*memory));
	return session->world->memory(session->state, memory);
}

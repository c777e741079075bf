// SPDX-License-Identifier: Apache-2.0
/* Reading bundles. What lies in them is checked by the worlds that use them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "digest.h"
#include "session.h"

uint64_t now(void)
{
	struct timespec time = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static enum tzml_status copy_from(const struct bundle *bundle, void *data,
				  size_t size, uint64_t offset)
{
	if (offset > bundle->memory_size || size > bundle->memory_size - offset)
		return fail(TZML_ERROR_TRUNCATED, "%s", bundle->name);
	memcpy(data, bundle->memory + offset, size);
	return TZML_SUCCESS;
}

/* Read exactly `size` bytes. */
static enum tzml_status read_at(const struct bundle *bundle, void *data,
				size_t size, uint64_t offset)
{
	uint8_t *to = data;

	if (bundle->memory)
		return copy_from(bundle, data, size, offset);
	while (size) {
		ssize_t count = pread(bundle->fd, to, size, (off_t)offset);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return fail(TZML_ERROR_FILE, "%s: %s", bundle->name,
				    strerror(errno));
		if (!count)
			return fail(TZML_ERROR_TRUNCATED, "%s", bundle->name);
		to += count;
		offset += (uint64_t)count;
		size -= (size_t)count;
	}
	return TZML_SUCCESS;
}

enum tzml_status
bundle_read(const struct bundle *bundle, uint32_t section, void *buffer,
	    size_t buffer_size,
	    enum tzml_status (*take)(void *state, uint32_t section,
				     uint64_t offset, size_t size),
	    void *state)
{
	const struct tzml_section *entry =
		tzml_bundle_sections(bundle->header) + section;
	enum tzml_status status = TZML_SUCCESS;
	uint64_t start = now();
	uint64_t offset = 0;

	while (!status && offset < entry->size) {
		uint64_t left = entry->size - offset;
		size_t size = left < buffer_size ? left : buffer_size;

		status = read_at(bundle, buffer, size, entry->offset + offset);
		if (!status)
			status = take(state, section, offset, size);
		offset += size;
	}
	bundle->reads[section].count++;
	bundle->reads[section].nanoseconds += now() - start;
	return status;
}

static enum tzml_status file_size(const struct bundle *bundle, uint64_t *size)
{
	struct stat stat = { 0 };

	*size = bundle->memory_size;
	if (bundle->memory)
		return TZML_SUCCESS;
	if (fstat(bundle->fd, &stat))
		return fail(TZML_ERROR_FILE, "%s: %s", bundle->name,
			    strerror(errno));
	*size = (uint64_t)stat.st_size;
	return TZML_SUCCESS;
}

/* What is wrong with a bundle that is too short for its header. */
static enum tzml_status check_start(const struct bundle *bundle)
{
	struct tzml_header start = { 0 };
	enum tzml_status status = TZML_SUCCESS;
	size_t header_size = 0;

	if (read_at(bundle, &start, offsetof(struct tzml_header, header_size),
		    0)) {
		if (read_at(bundle, &start, sizeof(start.magic), 0))
			return fail(TZML_ERROR_NOT_A_BUNDLE, "%s",
				    bundle->name);
		start.format_version = TZML_FORMAT_VERSION;
	}
	status = tzml_bundle_header_size(&start, &header_size);
	/* the size that it should have is not there */
	if (status == TZML_ERROR_HEADER_MALFORMED)
		status = TZML_ERROR_TRUNCATED;
	return fail(status, "%s", bundle->name);
}

/* Only as far as it takes to read the rest. */
static enum tzml_status read_header(struct bundle *bundle)
{
	struct tzml_header start = { 0 };
	enum tzml_status status = TZML_SUCCESS;
	uint64_t size = 0;

	status = read_at(bundle, &start, sizeof(start), 0);
	if (status == TZML_ERROR_TRUNCATED)
		return check_start(bundle);
	if (status)
		return status;
	status = tzml_bundle_header_size(&start, &bundle->header_size);
	if (status)
		return fail(status, "%s", bundle->name);
	status = file_size(bundle, &size);
	if (status)
		return status;
	if (size < start.bundle_size)
		return fail(TZML_ERROR_TRUNCATED,
			    "%s has %llu bytes instead of %llu", bundle->name,
			    (unsigned long long)size,
			    (unsigned long long)start.bundle_size);

	bundle->header = calloc(1, bundle->header_size);
	bundle->reads =
		calloc(start.section_count + 1u, sizeof(*bundle->reads));
	if (!bundle->header || !bundle->reads)
		return fail(TZML_ERROR_MEMORY, "%s", bundle->name);
	return read_at(bundle, bundle->header, bundle->header_size, 0);
}

enum tzml_status bundle_open_fd(struct bundle *bundle, int fd, const char *name)
{
	bundle->fd = fd;
	bundle->name = strdup(name);
	return bundle->name ? read_header(bundle)
			    : fail(TZML_ERROR_MEMORY, NULL);
}

enum tzml_status bundle_open_memory(struct bundle *bundle, const void *data,
				    size_t size, const char *name)
{
	bundle->memory = size ? data : (const void *)"";
	bundle->memory_size = size;
	bundle->name = strdup(name);
	return bundle->name ? read_header(bundle)
			    : fail(TZML_ERROR_MEMORY, NULL);
}

void bundle_close(struct bundle *bundle)
{
	if (bundle->fd >= 0)
		close(bundle->fd);
	free(bundle->grants);
	free(bundle->reads);
	free(bundle->header);
	free(bundle->name);
}

enum tzml_status bundle_read_grants(struct bundle *bundle)
{
	/* more than the largest grant, and less than would hurt */
	const uint64_t most = 4 * 1024 * 1024;
	uint64_t start = tzml_align(bundle->header->bundle_size);
	uint64_t size = 0;
	enum tzml_status status = TZML_SUCCESS;

	if (bundle->grants) /* one was given */
		return TZML_SUCCESS;
	status = file_size(bundle, &size);
	if (status || size <= start)
		return status;
	size -= start;
	if (size > most)
		size = most;
	bundle->grants = malloc(size);
	if (!bundle->grants)
		return fail(TZML_ERROR_MEMORY, "%s", bundle->name);
	bundle->grants_size = size;
	return read_at(bundle, bundle->grants, size, start);
}

static enum tzml_status nothing_to_do(void *state, uint32_t section,
				      uint64_t offset, size_t size)
{
	(void)state;
	(void)section;
	(void)offset;
	(void)size;
	return TZML_SUCCESS;
}

enum tzml_status bundle_read_interface(const struct bundle *bundle, void **data,
				       struct tzml_interface *interface)
{
	/* a checked header has the interface as its first section, in clear */
	const struct tzml_section *section =
		tzml_bundle_sections(bundle->header);
	uint8_t digest[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;
	size_t size = section->size;

	*data = malloc(size);
	if (!*data)
		return fail(TZML_ERROR_MEMORY, "%s", bundle->name);
	status = bundle_read(bundle, 0, *data, size, nothing_to_do, NULL);
	if (status)
		return status;
	if (!digest_of(*data, size, digest))
		return fail(TZML_ERROR_PLATFORM, "%s", bundle->name);
	status = memcmp(digest, section->tag, sizeof(digest))
			 ? TZML_ERROR_SECTION_DIGEST
			 : tzml_interface_check(*data, size, interface);
	return status ? fail(status, "%s", bundle->name) : status;
}

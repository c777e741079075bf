// SPDX-License-Identifier: Apache-2.0
/*
 * Everything an attacker can say to the runtime, who can also make every
 * digest of a clear bundle right: load, run, reset, run again, save the state
 * and restore it. The kernels touch each byte they may, so a plan that is let
 * through wrongly shows in AddressSanitizer.
 *
 * The input is a bundle; a byte after it says what else goes wrong. A grant may
 * lie between them. Signatures and tags of AES-GCM count as right, so that what
 * an owner could sign is tried too.
 */
#include <openssl/evp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "example_kernels.h"
#include "fuzz.h"
#include "test_platform.h"

enum {
	WRONG_DIGESTS = 1,
	LITTLE_MEMORY = 2,
	CHECKPOINTS = 4, /* with WRONG_DIGESTS: in the normal world */
	WRONG_ORDER = 8,
	WRONG_INPUTS = 16,
	WRONG_OUTPUTS = 32,
	GIVE_UP = 64,	    /* begin again in the middle of a chunk, once */
	KERNELS_FAIL = 128, /* in the second run of each program */
	STAGES = WRONG_INPUTS | WRONG_OUTPUTS, /* alone: releases, records */
};

/* of a checkpoint's header, what its key is bound to */
#define BOUND_SIZE offsetof(struct tzml_checkpoint, enc)

static void digest(const uint8_t *data, size_t size, uint8_t *to)
{
	if (EVP_Digest(data, size, to, NULL, EVP_sha256(), NULL) != 1)
		abort();
}

static struct tzml_section *section_at(uint8_t *data, uint32_t section)
{
	return (struct tzml_section *)(data + sizeof(struct tzml_header)) +
	       section;
}

static bool lies_in(const struct tzml_section *section, size_t size)
{
	return section->size <= size && section->offset <= size - section->size;
}

/* Make the digests right. Returns whether there is a whole header. */
static bool seal(uint8_t *data, size_t size, size_t *header_size)
{
	struct tzml_header *header = (void *)data;

	if (size < sizeof(*header) ||
	    tzml_bundle_header_size(header, header_size) || size < *header_size)
		return false;
	for (uint32_t i = 0; i < header->section_count; i++) {
		struct tzml_section *section = section_at(data, i);

		if (lies_in(section, size))
			digest(data + section->offset, section->size,
			       section->tag);
		if (section->protection == TZML_PROTECTION_AES_GCM)
			memset(section->tag + TZML_TAG_SIZE, 0,
			       sizeof(section->tag) - TZML_TAG_SIZE);
	}
	memset(header->digest, 0, sizeof(header->digest));
	memset(header->signature, 0, sizeof(header->signature));
	digest(data, *header_size, header->digest);
	for (size_t i = 0; i < sizeof(header->owner); i++)
		header->signature[0] |= header->owner[i];
	return true;
}

/* The grant behind the bundle, made to fit it; its size, or 0. */
static size_t find_grant(uint8_t *data, size_t size, bool fit, uint8_t **grant)
{
	const struct tzml_header *header = (const void *)data;
	uint64_t start = tzml_align(header->bundle_size);
	struct tzml_grant found = { 0 };

	if (start < header->bundle_size || start > size ||
	    size - start < sizeof(found) + 1)
		return 0;
	*grant = data + start;
	memcpy(&found, *grant, sizeof(found));
	if (fit) {
		memcpy(found.bundle_digest, header->digest,
		       sizeof(found.bundle_digest));
		memcpy(found.model_id, header->model_id,
		       sizeof(found.model_id));
		memcpy(found.owner, header->owner, sizeof(found.owner));
		memcpy(*grant, &found, sizeof(found));
	}
	return size - start - 1;
}

/* What a client does with a bundle and its grant, if it is sealed. */
static enum tzml_status give_grant(struct tzml_model *model, uint8_t *data,
				   size_t size, bool fit)
{
	uint8_t *grant = NULL;
	size_t grant_size = find_grant(data, size, fit, &grant);

	if (!grant_size)
		return TZML_SUCCESS;
	/* only now: it takes longer than most inputs */
	test_context_enroll(model->context,
			    (const uint8_t[TZML_SECRET_SIZE]){ 1 });
	return tzml_model_take_grant(model, grant, grant_size);
}

/* Content that is said to be there is there, whole and from the bundle. */
static void check_content(const struct tzml_model *model, uint8_t *bundle,
			  enum tzml_section_type type, uint32_t index,
			  const uint8_t *data, uint64_t size)
{
	uint32_t section = tzml_bundle_find(model->header.data, type, index,
					    model->platform->world);
	uint8_t tag[TZML_DIGEST_SIZE] = { 0 };

	digest(data, size, tag);
	if (memcmp(tag, section_at(bundle, section)->tag,
		   section_at(bundle, section)->protection ? TZML_TAG_SIZE
							   : sizeof(tag)))
		abort();
}

static void check_chunks(const struct tzml_model *model, uint8_t *bundle)
{
	const struct tzml_layout *layout = &model->layout;
	const uint8_t *weights = model->weights.data;

	for (uint32_t i = 0; weights && i < layout->header->chunk_count; i++)
		if (model->present[i])
			check_content(model, bundle, TZML_SECTION_WEIGHTS,
				      layout->header->first_chunk + i,
				      weights + layout->chunks[i].offset,
				      layout->chunks[i].size);
}

/* Before the first run, and after a reset, the state is as the bundle says. */
static void check_state(const struct tzml_model *model, uint8_t *bundle)
{
	const struct tzml_layout *layout = &model->layout;
	const uint8_t *state = model->state_memory.data;
	uint64_t end = 0;

	for (uint32_t i = 0; i < layout->header->state_count; i++) {
		const struct tzml_chunk *piece = layout->pieces + i;

		for (; end < piece->offset; end++)
			if (state[end])
				abort();
		check_content(model, bundle, TZML_SECTION_STATE,
			      layout->header->first_state + i,
			      state + piece->offset, piece->size);
		end = piece->offset + piece->size;
	}
	for (; end < model->state_memory.size; end++)
		if (state[end])
			abort();
}

enum tzml_status fuzz_load(struct tzml_model *model,
			   const struct fuzzed *bundle)
{
	enum tzml_status status = TZML_SUCCESS;
	uint32_t wanted = TZML_NO_SECTION;
	uint8_t faults = bundle->faults;

	while (!status &&
	       (wanted = tzml_model_wanted(model)) != TZML_NO_SECTION) {
		const struct tzml_section *section =
			section_at(bundle->data, wanted);
		uint64_t left = section->size - model->loaded;

		if (!lies_in(section, bundle->size))
			return TZML_ERROR_TRUNCATED;
		if (left > bundle->piece_size)
			left = bundle->piece_size;
		status = tzml_model_load(
			model, wanted, model->loaded + !!(faults & WRONG_ORDER),
			bundle->data + section->offset + model->loaded, left);
		check_chunks(model, bundle->data);
		if (faults & GIVE_UP && tzml_model_running(model) &&
		    model->loaded)
			break;
	}
	return status;
}

bool fuzz_finish(struct tzml_model *model, const struct tzml_plan *plan,
		 enum tzml_status status, uint8_t *outputs,
		 const struct fuzzed *bundle)
{
	while (!status && tzml_model_running(model)) {
		status =
			tzml_model_continue(model, outputs, plan->outputs_size);
		if (!status)
			status = fuzz_load(model, bundle);
	}
	return !status;
}

static enum tzml_status load(struct tzml_model *model, uint8_t *data,
			     size_t size, size_t piece_size, uint8_t faults)
{
	return fuzz_load(model,
			 &(struct fuzzed){ data, size, piece_size, faults });
}

static void run(struct tzml_model *model, uint32_t program, uint8_t *data,
		size_t size, size_t piece_size, uint8_t faults)
{
	const struct tzml_plan *plan = tzml_model_plan(model, program);
	size_t inputs_size = plan->inputs_size + !!(faults & WRONG_INPUTS);
	size_t outputs_size = plan->outputs_size + !!(faults & WRONG_OUTPUTS);
	uint8_t *outputs = malloc(outputs_size);
	uint8_t *inputs = calloc(1, inputs_size);
	enum tzml_status status = TZML_SUCCESS;

	/* a model that is ready takes no more pieces */
	if (model->state == TZML_MODEL_READY &&
	    tzml_model_load(model, 0, 0, data, 1) != TZML_ERROR_STATE)
		abort();
	if (outputs && inputs)
		status = tzml_model_start(model, program, inputs, inputs_size);
	while (!status && tzml_model_running(model)) {
		status = tzml_model_continue(model, outputs, outputs_size);
		if (!status)
			status = load(model, data, size, piece_size, faults);
		if (!status && tzml_model_wanted(model) != TZML_NO_SECTION) {
			status = tzml_model_start(model, program, inputs,
						  inputs_size);
			faults &= ~GIVE_UP;
		}
	}
	free(inputs);
	free(outputs);
}

/* A run that fails leaves no state that another could work on. */
static void run_and_fail(struct tzml_model *model, uint32_t program,
			 uint8_t *data, size_t size, size_t piece_size,
			 uint8_t faults)
{
	const struct tzml_plan *plan = tzml_model_plan(model, program);
	bool writes_state = plan->writes_state && plan->header->call_count;
	bool can_run =
		model->state == TZML_MODEL_READY && faults == KERNELS_FAIL;

	example_kernels_fail = 1;
	run(model, program, data, size, piece_size, faults & ~KERNELS_FAIL);
	example_kernels_fail = 0;
	if (can_run && writes_state && model->state == TZML_MODEL_READY &&
	    !model->state_lost)
		abort();
}

/* A checkpoint of the state, as a file has it; its size, or 0. */
static size_t save(struct tzml_model *model, uint32_t flags, uint8_t *file)
{
	const uint8_t note[TZML_NOTE_SIZE] = { 0 };
	size_t size = sizeof(struct tzml_checkpoint);
	size_t next = 0;

	if (tzml_model_save(model, flags, note, file))
		return 0;
	if (tzml_model_save_segment(model, file, 0) != TZML_ERROR_OUTPUT_SIZE)
		abort();
	for (; (next = tzml_model_segment(model)); size += next)
		if (tzml_model_save_segment(model, file + size, next))
			return 0;
	return size;
}

static enum tzml_status restore(struct tzml_model *model, const uint8_t *file,
				size_t size)
{
	size_t at = sizeof(struct tzml_checkpoint);
	enum tzml_status status = tzml_model_restore(model, file, at);
	size_t next = 0;

	for (; !status && (next = tzml_model_segment(model)); at += next)
		status = next > size - at
				 ? tzml_model_restore_segment(model, file + at,
							      0)
				 : tzml_model_restore_segment(model, file + at,
							      next);
	return status;
}

/* What was exported comes back as a server's model; then no earlier one does. */
static void take_global(struct tzml_model *model, uint8_t *file, size_t size)
{
	struct tzml_checkpoint about;

	memcpy(&about, file, sizeof(about));
	about.kind = TZML_CHECKPOINT_GLOBAL;
	about.updates = 0;
	about.number = UINT64_MAX;
	memset(about.enc, 0, sizeof(about) - BOUND_SIZE);
	memcpy(file, &about, sizeof(about));
	if (restore(model, file, size))
		return;
	about.number--;
	memcpy(file, &about, sizeof(about));
	if (restore(model, file, size) != TZML_ERROR_ROUND_OLD)
		abort();
}

/* What was saved is taken, also after a bit of it is another: then or never. */
static void save_and_restore(struct tzml_model *model, const uint8_t *input,
			     size_t input_size, uint32_t flags)
{
	size_t room = sizeof(struct tzml_checkpoint) +
		      (size_t)model->state_memory.size;
	uint8_t *file = NULL;
	size_t size = 0;

	/* at least a byte of state is before each tag */
	file = malloc(room +
		      TZML_TAG_SIZE * ((size_t)model->state_memory.size + 1));
	if (!file)
		return;
	size = save(model, flags, file);
	if (size && !(flags & TZML_SAVE_EXPORT)) {
		if (tzml_model_confirm(model) || restore(model, file, size))
			abort();
		for (size_t at = 0; at < BOUND_SIZE; at += 4) {
			/* a higher number is taken, and this one then old */
			if (at / 8 ==
			    offsetof(struct tzml_checkpoint, number) / 8)
				continue;
			file[at + input[at % input_size] % 4] ^= 1;
			(void)restore(model, file, size);
			file[at + input[at % input_size] % 4] ^= 1;
		}
		file[size - 1] ^= 1;
		if (!model->platform->crypto &&
		    restore(model, file, size) != TZML_ERROR_CHECKPOINT_DAMAGED)
			abort();
		file[size - 1] ^= 1;
		if (restore(model, file, size - 1) !=
			    TZML_ERROR_CHECKPOINT_MALFORMED ||
		    restore(model, file, size))
			abort();
		(void)tzml_model_restore(model, file, 0);
	}
	if (size && flags & TZML_SAVE_EXPORT)
		take_global(model, file, size);
	if (tzml_model_restore_segment(model, file, 1) != TZML_ERROR_STATE)
		abort();
	free(file);
}

/* Run every program twice, then reset the state and run them again. */
static void run_all(struct tzml_model *model, uint8_t *data, size_t size,
		    size_t piece_size, uint8_t faults)
{
	check_state(model, data);
	for (uint32_t i = 0; i < 3 * TZML_MAX_PROGRAMS; i++) {
		if (model->state != TZML_MODEL_CLOSED &&
		    i == 2 * TZML_MAX_PROGRAMS) {
			if (tzml_model_reset(model) ||
			    load(model, data, size, piece_size, faults))
				continue;
			check_state(model, data);
		}
		if (!tzml_model_plan(model, i % TZML_MAX_PROGRAMS))
			continue;
		if (faults & KERNELS_FAIL && i / TZML_MAX_PROGRAMS == 1)
			run_and_fail(model, i % TZML_MAX_PROGRAMS, data, size,
				     piece_size, faults);
		else
			run(model, i % TZML_MAX_PROGRAMS, data, size,
			    piece_size, faults);
	}
	if (model->state == TZML_MODEL_READY &&
	    tzml_model_start(model, TZML_MAX_PROGRAMS, data, 0) !=
		    TZML_ERROR_PROGRAM)
		abort();
	if (!(faults & ~(LITTLE_MEMORY | GIVE_UP)) &&
	    model->state == TZML_MODEL_READY) {
		const struct fuzzed bundle = { data, size, piece_size,
					       faults & ~GIVE_UP };

		fuzz_batch(model, &bundle);
		fuzz_repeat(model, &bundle);
	}
	/* a run that failed has closed the model, which then has nothing */
	if ((faults & ~WRONG_DIGESTS) == CHECKPOINTS &&
	    model->state != TZML_MODEL_CLOSED) {
		/* a clear model has no grant, and its device none so far */
		if (model->platform->crypto && !model->granted)
			test_context_enroll(
				model->context,
				(const uint8_t[TZML_SECRET_SIZE]){ 1 });
		for (uint32_t flags = 0; flags <= TZML_SAVE_FLAGS; flags++)
			save_and_restore(model, data, size, flags);
	}
	if ((faults & ~WRONG_DIGESTS) == STAGES &&
	    model->state == TZML_MODEL_READY)
		fuzz_stage(model,
			   &(struct fuzzed){ data, size, piece_size, faults });
}

static uint8_t faults_of(const uint8_t *input, size_t size)
{
	struct tzml_header header = { 0 };

	if (size <= sizeof(header))
		return 0;
	memcpy(&header, input, sizeof(header));
	return size > header.bundle_size ? input[size - 1] : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct test_context context = { 0 };
	struct tzml_model model = { 0 };
	size_t header_size = 0;
	uint8_t faults = faults_of(input, size);
	uint8_t *data = malloc(size + 1);
	bool whole = false;

	if (!data)
		return 0;
	memcpy(data, input, size);
	test_context_open(&context);
	context.trusting = true;
	context.limit = faults & LITTLE_MEMORY ? 1024 : 1024 * 1024;
	whole = seal(data, size, &header_size);
	if (faults & WRONG_DIGESTS)
		memcpy(data, input, size);
	if (!whole)
		header_size = size;
	if (!tzml_model_open(&model,
			     faults == (CHECKPOINTS | WRONG_DIGESTS)
				     ? &test_platform_ree
				     : &test_platform,
			     &context, data, header_size) &&
	    whole &&
	    !give_grant(&model, data, size, !(faults & WRONG_DIGESTS)) &&
	    !load(&model, data, size, 1 + size % 97, faults))
		run_all(&model, data, size, 1 + size % 97, faults);
	tzml_model_close(&model);
	test_context_close(&context);
	free(data);
	return 0;
}

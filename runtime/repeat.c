// SPDX-License-Identifier: Apache-2.0
/*
 * Requests that come again. Nothing is believed of them: the digest is of what
 * lies in the arena, so that who repeats one gets the bits that they have.
 */
#include <string.h>

#include "check.h"
#include "repeat.h"

#define LABEL "tzml request 1"

/* What is digested before the inputs. */
struct about {
	uint8_t label[sizeof(LABEL) - 1];
	uint8_t sealed;
	uint8_t program;
	struct tzml_request request;
};

_Static_assert(sizeof(struct about) == 56, "no padding");
_Static_assert(TZML_MAX_PROGRAMS <= UINT8_MAX, "a program's number fits");

/*
 * Whether runs are counted, and nothing but their inputs, of which the world's
 * random ones are some, goes into them.
 */
static bool can_repeat(const struct tzml_model *model)
{
	return model->granted && model->grant.query_budget != TZML_UNLIMITED &&
	       !model->state_memory.data;
}

static enum tzml_status digest_run(struct tzml_model *model,
				   const struct tzml_plan *plan,
				   const struct about *about)
{
	const struct tzml_platform *platform = model->platform;
	const uint8_t *arena = model->arena.data;
	enum tzml_status status = platform->digest_start(model->context);

	if (!status)
		status = platform->digest_update(model->context, about,
						 sizeof(*about));
	for (uint32_t i = 0; !status && i < plan->program->input_count; i++)
		status = platform->digest_update(
			model->context, arena + plan->places[i].offset,
			model->interface.tensors[plan->ports[i]].size);
	return status ? status
		      : platform->digest_finish(model->context,
						model->repeats.digest);
}

enum tzml_status tzml_find_request(struct tzml_model *model, uint32_t program,
				   bool sealed,
				   const struct tzml_request *request,
				   bool *again)
{
	const struct tzml_plan *plan = model->plans + program;
	struct tzml_repeats *repeats = &model->repeats;
	struct about about = { .label = LABEL,
			       .sealed = sealed,
			       .program = (uint8_t)program };
	enum tzml_status status = TZML_SUCCESS;

	*again = false;
	repeats->pending = false;
	if (!request || !can_repeat(model))
		return TZML_SUCCESS;
	about.request = *request;
	status = digest_run(model, plan, &about);
	if (status)
		return status;
	for (uint32_t i = 0; i < TZML_KNOWN_REQUESTS; i++) {
		if (!repeats->known[i].free_runs ||
		    !is_equal(repeats->known[i].digest, repeats->digest,
			      sizeof(repeats->digest)))
			continue;
		repeats->known[i].free_runs--;
		*again = true;
		return TZML_SUCCESS;
	}
	repeats->pending = true;
	return TZML_SUCCESS;
}

void tzml_know_request(struct tzml_model *model)
{
	struct tzml_repeats *repeats = &model->repeats;
	struct tzml_known_request *known =
		&repeats->known[repeats->answered % TZML_KNOWN_REQUESTS];

	if (!repeats->pending)
		return;
	memcpy(known->digest, repeats->digest, sizeof(known->digest));
	known->free_runs = TZML_FREE_RUNS;
	repeats->answered++;
}

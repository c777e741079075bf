// SPDX-License-Identifier: Apache-2.0
/*
 * Stages of attested pipelines. What passes through here is sealed: this
 * program, like everybody else in the normal world, only carries it.
 */
#include <stdlib.h>
#include <string.h>
#include <tzml.h>

#include "http.h"

#define NONCE_SIZE   32
#define RELEASE_SIZE 512

uint64_t stage_most_body(const struct model *model)
{
	uint64_t taken = model->taken_size;

	return taken > RELEASE_SIZE ? taken : RELEASE_SIZE;
}

/* An answer of bytes, which takes them. */
static void answer_bytes(struct answer *answer, void *data, size_t size)
{
	answer->status = 200;
	answer->text.data = data;
	answer->text.size = size;
	answer->json_size = size;
	answer->type = BINARY;
}

/* Whose fault it was: theirs who sent it, or the TEE's. */
static void answer_failure(struct worker *worker, struct seat *seat,
			   struct answer *answer, uint32_t status)
{
	switch (status) {
	case TZML_ERROR_RECORD_MALFORMED:
	case TZML_ERROR_RECORD_OTHER:
	case TZML_ERROR_RECORD_TAG:
	case TZML_ERROR_RELEASE_MALFORMED:
	case TZML_ERROR_RELEASE_OTHER:
	case TZML_ERROR_OWNER_UNKNOWN:
	case TZML_ERROR_SIGNATURE:
		answer_error(answer, 400, "%s (%s)", tzml_error(),
			     tzml_status_name(status));
		return;
	case TZML_ERROR_RECORD_EPOCH:
	case TZML_ERROR_RELEASE_OLD:
		answer_error(answer, 409, "%s (%s)", tzml_error(),
			     tzml_status_name(status));
		return;
	default:
		answer_status(answer, status);
	}
	if (is_fatal(status) && seat->session)
		lose(worker, seat);
}

/* A new session with a key of its own; the one before is gone. */
static void begin(struct worker *worker, struct seat *seat,
		  const struct job *job, struct answer *answer)
{
	struct tzml_evidence *evidence = NULL;
	uint32_t status = 0;

	if (job->size != NONCE_SIZE) {
		answer_error(answer, 400, "a nonce has %u bytes, not %zu",
			     NONCE_SIZE, job->size);
		return;
	}
	evidence = calloc(1, sizeof(*evidence));
	if (!evidence) {
		answer_error(answer, 503, "no memory for the evidence");
		return;
	}
	worker->model->joined = false;
	empty(worker->model, seat);
	status = fill_stage(worker, seat, (const uint8_t *)job->body, evidence);
	set_broken(worker, !!status);
	if (status) {
		free(evidence);
		answer_failure(worker, seat, answer, status);
		return;
	}
	answer_bytes(answer, evidence, sizeof(*evidence));
}

static void join(struct worker *worker, struct seat *seat,
		 const struct job *job, struct answer *answer)
{
	struct tzml_record_sizes sizes = { 0 };
	uint32_t status = 0;

	if (!seat->session) {
		answer_error(answer, 409,
			     "the stage has no session: attest it first");
		return;
	}
	/* a release that is refused leaves it without keys */
	worker->model->joined = false;
	status = tzml_join(seat->session, job->body, job->size, &sizes);
	if (status) {
		answer_failure(worker, seat, answer, status);
		return;
	}
	worker->model->taken_size = sizes.taken;
	worker->model->given_size = sizes.given;
	worker->model->joined = true;
	answer->status = 200;
	text_print(&answer->text, "{\"record_size\":%llu}",
		   (unsigned long long)sizes.taken);
	answer->json_size = answer->text.size;
}

static void run(struct worker *worker, struct seat *seat, const struct job *job,
		struct answer *answer)
{
	struct model *model = worker->model;
	uint64_t begin_ns = 0;
	void *given = NULL;
	uint32_t status = 0;

	if (!seat->session || !model->joined) {
		answer_error(answer, 503, "the stage has no keys (%s)",
			     tzml_status_name(TZML_ERROR_NOT_RELEASED));
		answer->retry_after = 1;
		return;
	}
	given = calloc(1, model->given_size);
	if (!given) {
		answer_error(answer, 503, "no memory for the record");
		return;
	}
	begin_ns = now_ns();
	status = tzml_run_record(seat->session, job->body, job->size, given,
				 model->given_size);
	model->last_run = now_ns() - begin_ns;
	seat->used = now_ms();
	if (status) {
		free(given);
		answer_failure(worker, seat, answer, status);
		return;
	}
	model->inferences++;
	answer_bytes(answer, given, model->given_size);
}

void serve_stage(struct worker *worker, const struct job *job,
		 struct answer *answer)
{
	struct seat *seat = worker->seats;

	switch (job->kind) {
	case JOB_STAGE:
		begin(worker, seat, job, answer);
		return;
	case JOB_RELEASE:
		join(worker, seat, job, answer);
		return;
	default:
		run(worker, seat, job, answer);
	}
}

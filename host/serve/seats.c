// SPDX-License-Identifier: Apache-2.0
/* Seats: sessions, opened again when the TA or OP-TEE failed, and the sequences that have them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <tzml.h>

#include "serve.h"

/* Between attempts to open a model that could not be opened. */
#define FIRST_PAUSE_MS 100
#define LAST_PAUSE_MS  5000

/* Whether opening may succeed later, without anybody changing the files. */
bool may_pass(uint32_t status)
{
	switch (status) {
	case TZML_ERROR_BUSY:
	case TZML_ERROR_NO_SUPPLICANT:
	case TZML_ERROR_NO_TEE:
	case TZML_ERROR_PLATFORM:
	case TZML_ERROR_STORAGE_FULL:
	case TZML_ERROR_TA_DEAD:
	case TZML_ERROR_TEE_FAILED:
		return true;
	default:
		return false;
	}
}

/* Whether a session can go on after its run failed so. */
bool is_fatal(uint32_t status)
{
	return may_pass(status) || status == TZML_ERROR_STATE_LOST ||
	       status == TZML_ERROR_STATE;
}

static uint32_t open_session(struct model *model, struct tzml_session **session)
{
	const struct model_options *options = model->options;
	uint32_t world = model->settings->world;
	uint32_t status =
		model->grant
			? tzml_open_granted(options->path, model->grant,
					    model->grant_size, world, session)
			: tzml_open(options->path, world, session);

	if (!status)
		status = tzml_select(*session, options->entry);
	if (status) {
		tzml_close(*session);
		*session = NULL;
		return status;
	}
	model->openings++;
	return 0;
}

/* The model must be the one that it was: clients have seen its metadata. */
static int check_signature(struct model *model, struct tzml_session *session)
{
	struct signature signature = { 0 };
	struct tzml_memory memory = { 0 };
	int status = -1;

	if (tzml_memory(session, &memory))
		return -1;
	if (signature_read(&signature, session, memory.state > 0)) {
		signature_free(&signature);
		return -1;
	}
	pthread_mutex_lock(&model->lock);
	if (!model->has_signature) {
		model->signature = signature;
		signature = (struct signature){ 0 };
		model->has_signature = true;
		status = 0;
	} else if (signature_equal(&model->signature, &signature)) {
		status = 0;
	}
	pthread_mutex_unlock(&model->lock);
	if (status)
		log_line("model %s: %s has other inputs or outputs than "
			 "before; start tzml-serve again",
			 model->options->name, model->options->path);
	signature_free(&signature);
	return status;
}

uint32_t fill_stage(struct worker *worker, struct seat *seat,
		    const uint8_t *nonce, struct tzml_evidence *evidence)
{
	struct model *model = worker->model;
	uint32_t status = tzml_open_stage(model->options->path, model->grant,
					  model->grant_size, nonce, evidence,
					  &seat->session);

	if (status)
		return status;
	model->openings++;
	if (check_signature(model, seat->session)) {
		tzml_close(seat->session);
		seat->session = NULL;
		return TZML_ERROR_STATE;
	}
	return 0;
}

void set_broken(struct worker *worker, bool broken)
{
	struct model *model = worker->model;

	pthread_mutex_lock(&model->lock);
	worker->broken = broken;
	pthread_mutex_unlock(&model->lock);
}

/* Open the session of a seat. What fails is tried again after a pause. */
uint32_t fill(struct worker *worker, struct seat *seat)
{
	struct model *model = worker->model;
	uint32_t status = open_session(model, &seat->session);

	if (!status && check_signature(model, seat->session)) {
		tzml_close(seat->session);
		seat->session = NULL;
		status = TZML_ERROR_STATE;
	}
	if (!status) {
		model->counts_runs = tzml_counts_runs(seat->session);
		if (worker->broken)
			log_line("model %s: open again", model->options->name);
		worker->pause = 0;
		set_broken(worker, false);
		return 0;
	}
	if (!worker->broken)
		log_line("model %s: cannot be opened: %s", model->options->name,
			 tzml_error());
	set_broken(worker, true);
	worker->pause = worker->pause ? worker->pause * 2 : FIRST_PAUSE_MS;
	if (worker->pause > LAST_PAUSE_MS)
		worker->pause = LAST_PAUSE_MS;
	worker->next_attempt = now_ms() + worker->pause;
	return status;
}

void empty(struct model *model, struct seat *seat)
{
	tzml_close(seat->session);
	if (seat->taken)
		model->sequences--;
	*seat = (struct seat){ 0 };
}

/* The session is of no use: is there another TA, or another OP-TEE? */
void lose(struct worker *worker, struct seat *seat)
{
	log_line("model %s: a session ended: %s", worker->model->options->name,
		 tzml_error());
	worker->model->failures++;
	worker->model->joined = false;
	empty(worker->model, seat);
	set_broken(worker, true);
	worker->pause = 0;
	worker->next_attempt = now_ms();
}

void answer_status(struct answer *answer, uint32_t status)
{
	/* not only devices that fail: others may have runs left */
	bool is_budget = status == TZML_ERROR_BUDGET ||
			 status == TZML_ERROR_GRANT_PROGRAM;

	answer_error(answer,
		     is_budget		? 403
		     : is_fatal(status) ? 503
					: 500,
		     "%s (%s)", tzml_error(), tzml_status_name(status));
	answer->retry_after = answer->status == 503;
}

static struct seat *find_seat(struct worker *worker, const struct job *job,
			      const struct request *request)
{
	for (uint32_t i = 0; i < worker->seat_count; i++) {
		struct seat *seat = worker->seats + i;

		if (seat->taken && !strcmp(seat->sequence, request->sequence) &&
		    !memcmp(seat->client, job->client, CLIENT_SIZE))
			return seat;
	}
	return NULL;
}

/* A seat for a new sequence: one with a session, if there is one. */
static struct seat *free_seat(struct worker *worker)
{
	struct seat *found = NULL;

	for (uint32_t i = 0; i < worker->seat_count; i++) {
		struct seat *seat = worker->seats + i;

		if (!seat->taken && (!found || !found->session))
			found = seat;
	}
	return found;
}

/* End a sequence: what it left in the session is gone before it is answered. */
void end_sequence(struct worker *worker, struct seat *seat)
{
	seat->taken = false;
	worker->model->sequences--;
	*seat->sequence = 0;
	if (tzml_reset(seat->session))
		lose(worker, seat);
}

/* Close the sequences that were idle too long, and sessions that none has. */
void expire_sequences(struct worker *worker)
{
	struct model *model = worker->model;
	uint64_t idle = model->settings->sequence_idle * UINT64_C(1000);

	for (uint32_t i = 0;
	     model->signature.stateful && i < worker->seat_count; i++) {
		struct seat *seat = worker->seats + i;

		if (!seat->session || now_ms() - seat->used < idle)
			continue;
		if (i) /* the first session stays, so that the model is ready */
			empty(model, seat);
		else if (seat->taken)
			end_sequence(worker, seat);
	}
}

static struct seat *begin_sequence(struct worker *worker, const struct job *job,
				   const struct request *request,
				   struct answer *answer)
{
	struct seat *seat = NULL;
	uint32_t status = 0;

	expire_sequences(worker);
	seat = free_seat(worker);
	if (!seat) {
		answer_error(answer, 503,
			     "all %u sequences of the model are in use; try "
			     "again later",
			     worker->seat_count);
		answer->retry_after = 1;
		return NULL;
	}
	if (!seat->session)
		status = fill(worker, seat);
	else if (tzml_reset(seat->session)) {
		lose(worker, seat);
		status = fill(worker, seat);
	}
	if (status) {
		answer_status(answer, status);
		answer->status = 503;
		answer->retry_after = 1;
		return NULL;
	}
	seat->taken = true;
	worker->model->sequences++;
	memcpy(seat->client, job->client, CLIENT_SIZE);
	strcpy(seat->sequence, request->sequence);
	return seat;
}

/* The seat that runs the request, or NULL and an answer. */
struct seat *choose_seat(struct worker *worker, const struct job *job,
			 const struct request *request, struct answer *answer)
{
	struct seat *seat = worker->seats;

	if (*request->sequence) {
		seat = find_seat(worker, job, request);
		if (seat && !request->sequence_start)
			return seat;
		if (seat) {
			answer_error(answer, 409,
				     "sequence %.200s has begun already: use "
				     "an id that nobody else has, such as a "
				     "UUID, or end it with sequence_end",
				     request->sequence + 1);
			return NULL;
		}
		if (request->sequence_start)
			return begin_sequence(worker, job, request, answer);
		answer_error(answer, 400,
			     "sequence %.200s is not known: it ended, was idle "
			     "for %u s, or was lost with the TA; begin with "
			     "sequence_start",
			     request->sequence + 1,
			     worker->model->settings->sequence_idle);
		return NULL;
	}
	if (seat->session)
		return seat;
	answer_error(answer, 503,
		     "the model is not open: see the journal of "
		     "tzml-serve");
	answer->retry_after = 1;
	return NULL;
}

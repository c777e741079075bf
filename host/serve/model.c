// SPDX-License-Identifier: Apache-2.0
/*
 * Models: resident sessions, a queue with a bound, and workers, each of which
 * has its own sessions and runs them one after the other.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml.h>

#include "serve.h"

/* For a worker's last call to return. */
#define STOP_SECONDS 2

/* Of a run before which nothing is handed to another thread (loop.c). */
#define SHORT_RUN_NS 4000000

/* Answering */

/* `lent`: the worker that the leader gives back, or NULL. */
static void finish(struct model *model, struct job *job, struct answer *answer,
		   struct worker *lent)
{
	bool wake = false;

	pthread_mutex_lock(&model->lock);
	if (job->exchange)
		exchange_finish(job->exchange, answer);
	else
		text_free(&answer->text);
	if (job->queued) {
		STAILQ_REMOVE(&model->queue, job, job, entry);
		model->queued--;
	}
	LIST_REMOVE(job, all);
	if (lent) {
		lent->lent = false;
		lent->busy_since = 0;
		lent->looks = lent->broken;
		wake = lent->broken || model->stopping ||
		       !STAILQ_EMPTY(&model->queue);
	}
	pthread_mutex_unlock(&model->lock);
	if (wake)
		pthread_cond_broadcast(&model->work);
	free(job->body);
	free(job);
}

/* Running */

/*
 * Run the one sample of a request under its id, of which each client has its
 * own: what was answered before costs nothing of a budget.
 */
static uint32_t run_again(const struct seat *seat, const struct job *job,
			  const char *id, const struct request *request,
			  const struct signature *signature, uint8_t *outputs,
			  uint64_t *nanoseconds)
{
	uint8_t whole[CLIENT_SIZE + ID_SIZE] = { 0 };
	size_t size = strlen(id);

	memcpy(whole, job->client, CLIENT_SIZE);
	memcpy(whole + CLIENT_SIZE, id, size);
	return tzml_run_request(seat->session, whole, CLIENT_SIZE + size,
				request->inputs, signature->inputs_size,
				outputs, signature->outputs_size, nanoseconds);
}

static uint32_t run_samples(struct worker *worker, struct seat *seat,
			    const struct job *job,
			    const struct request *request, uint8_t *outputs)
{
	const struct signature *signature = &worker->model->signature;
	const char *id = *request->id ? request->id : job->id;
	uint64_t nanoseconds = 0;
	uint32_t status =
		worker->model->counts_runs && *id && request->samples == 1
			? run_again(seat, job, id, request, signature, outputs,
				    &nanoseconds)
			: tzml_run_samples(
				  seat->session, request->samples,
				  request->inputs,
				  request->samples * signature->inputs_size,
				  outputs,
				  request->samples * signature->outputs_size,
				  &nanoseconds);

	if (status)
		return status;
	worker->model->last_run = nanoseconds;
	/* each took its share */
	for (uint32_t i = 0; i < request->samples; i++)
		histogram_add(&worker->model->run,
			      nanoseconds / request->samples);
	worker->model->inferences += request->samples;
	return status;
}

static void run_request(struct worker *worker, struct seat *seat,
			const struct job *job, struct request *request,
			struct answer *answer)
{
	const struct signature *signature = &worker->model->signature;
	uint8_t *outputs =
		calloc(request->samples, signature->outputs_size + 1);
	unsigned int status = 0;
	uint32_t failed = 0;

	if (!outputs) {
		answer_error(answer, 503, "no memory for the outputs");
		return;
	}
	failed = run_samples(worker, seat, job, request, outputs);
	seat->used = now_ms();
	if (failed) {
		answer_status(answer, failed);
		if (signature->stateful) /* a retry elsewhere has no state */
			answer->status =
				answer->status == 503 ? 500 : answer->status;
		if (is_fatal(failed))
			lose(worker, seat);
	} else {
		answer->status = 200;
		status = answer_write(request, signature,
				      worker->model->options->name, outputs,
				      &answer->text, &answer->json_size);
		if (status) {
			text_free(&answer->text);
			answer_error(answer, status, "%s", request->error);
		}
		if (request->sequence_end && *request->sequence)
			end_sequence(worker, seat);
	}
	free(outputs);
}

static void serve(struct worker *worker, struct job *job, struct worker *lent)
{
	struct answer answer = { 0 };
	struct request request = { 0 };
	struct seat *seat = NULL;
	unsigned int status = 0;

	if (job->kind != JOB_INFER) {
		serve_stage(worker, job, &answer);
		finish(worker->model, job, &answer, lent);
		return;
	}
	status = request_read(&request, &worker->model->signature, job->body,
			      job->size, job->json_size,
			      worker->model->settings->samples);
	if (status) {
		answer_error(&answer, status, "%s", request.error);
	} else {
		seat = choose_seat(worker, job, &request, &answer);
		if (seat)
			run_request(worker, seat, job, &request, &answer);
	}
	request_free(&request);
	finish(worker->model, job, &answer, lent);
}

/* Drop a job whose client has gone: it costs no run. */
static void drop(struct model *model, struct job *job, struct worker *lent)
{
	struct answer answer = { 0 };

	model->abandoned++;
	answer_error(&answer, 408, "the client has gone");
	finish(model, job, &answer, lent);
}

void worker_run(struct worker *worker, struct job *job)
{
	struct model *model = worker->model;
	bool abandoned = false;

	pthread_mutex_lock(&model->lock);
	abandoned = !job->exchange;
	pthread_mutex_unlock(&model->lock);
	/* what breaks is opened again by the worker's thread */
	if (abandoned)
		drop(model, job, worker);
	else
		serve(worker, job, worker);
}

/* Workers */

/* See whether the TA still answers, and open again what is not open. */
static void look_after(struct worker *worker)
{
	struct tzml_memory memory = { 0 };

	expire_sequences(worker);
	for (uint32_t i = 0; i < worker->seat_count; i++)
		if (worker->seats[i].session &&
		    tzml_memory(worker->seats[i].session, &memory))
			lose(worker, worker->seats + i);
	/* a stage is opened again by whoever attests it */
	if (worker->model->settings->stages)
		return;
	if (worker->broken && now_ms() >= worker->next_attempt) {
		if (worker->seats[0].session)
			set_broken(worker, false);
		else
			fill(worker, worker->seats);
	}
}

/*
 * The first job, if it is for this worker: sequences are all with the first
 * one, and one without a session leaves it to others that have theirs.
 */
static struct job *first_job(struct worker *worker)
{
	struct model *model = worker->model;
	bool mine = !worker->broken;

	if (worker->lent)
		return NULL;
	if (model->signature.stateful)
		return worker == model->workers ? STAILQ_FIRST(&model->queue)
						: NULL;
	if (!mine) {
		mine = true;
		for (uint32_t i = 0; i < model->worker_count; i++)
			mine = mine && model->workers[i].broken;
	}
	return mine ? STAILQ_FIRST(&model->queue) : NULL;
}

/*
 * Wait for a job. NULL: look after the sessions. With the lock. `waited`: the
 * job was there before, and its client may have gone.
 */
static struct job *take(struct worker *worker, bool *waited)
{
	struct model *model = worker->model;
	struct job *job = first_job(worker);
	uint64_t pause = model->settings->probe * UINT64_C(1000);
	struct timespec until = { 0 };
	int error = 0;

	if (worker->broken && worker->pause)
		pause = worker->pause;
	until = time_after(pause * 1000000);
	*waited = job;
	worker->idle = true;
	while (worker->lent ||
	       (!job && !model->stopping && !error && !worker->looks)) {
		error = worker->lent
				? pthread_cond_wait(&model->work, &model->lock)
				: pthread_cond_timedwait(&model->work,
							 &model->lock, &until);
		job = first_job(worker);
	}
	worker->idle = false;
	worker->looks = false;
	if (job) {
		STAILQ_REMOVE_HEAD(&model->queue, entry);
		job->queued = false;
		model->queued--;
	}
	return job;
}

static void *work(void *opaque)
{
	struct worker *worker = opaque;
	struct model *model = worker->model;
	bool stopping = false;
	struct job *job = NULL;

	while (!stopping || job) {
		bool abandoned = false;
		bool waited = false;

		pthread_mutex_lock(&model->lock);
		worker->busy_since = 0;
		job = take(worker, &waited);
		abandoned = job &&
			    (!job->exchange ||
			     (waited && exchange_is_abandoned(job->exchange)));
		worker->busy_since = now_ms();
		stopping = model->stopping;
		pthread_mutex_unlock(&model->lock);
		if (abandoned) {
			drop(model, job, NULL);
		} else if (job) {
			serve(worker, job, NULL);
			if (worker->broken && !worker->seats[0].session)
				fill(worker, worker->seats);
		} else if (!stopping) {
			look_after(worker);
		}
	}
	for (uint32_t i = 0; i < worker->seat_count; i++)
		empty(model, worker->seats + i);
	return NULL;
}

static int read_grant(struct model *model, const char *path)
{
	const size_t most = 1 << 20;
	FILE *file = fopen(path, "rbe");
	int status = -1;

	model->grant = malloc(most);
	if (file && model->grant) {
		model->grant_size = fread(model->grant, 1, most, file);
		status = ferror(file) ? -1 : 0;
	}
	if (status)
		log_line("cannot read the grant %s: %s", path, strerror(errno));
	if (file)
		fclose(file);
	return status;
}

int model_open(struct model *model, const struct options *settings,
	       const struct model_options *options)
{
	pthread_condattr_t attributes;
	uint32_t status = 0;
	bool stateful = false;

	model->options = options;
	model->settings = settings;
	pthread_mutex_init(&model->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&model->work, &attributes);
	pthread_condattr_destroy(&attributes);
	STAILQ_INIT(&model->queue);
	LIST_INIT(&model->jobs);
	if (options->grant && read_grant(model, options->grant))
		return -1;
	model->workers = calloc(settings->instances, sizeof(struct worker));
	if (!model->workers)
		return -1;
	for (uint32_t i = 0; i < settings->instances && !stateful; i++) {
		struct worker *worker = model->workers + i;

		worker->model = model;
		worker->seat_count = settings->sequences;
		worker->seats =
			calloc(settings->sequences, sizeof(struct seat));
		model->worker_count++;
		if (!worker->seats)
			return -1;
		if (settings->stages)
			continue;
		status = fill(worker, worker->seats);
		if (status && !may_pass(status))
			return -1;
		/* one worker has all sequences, for each is in some session */
		stateful = model->signature.stateful;
	}
	return 0;
}

int model_start(struct model *model)
{
	for (uint32_t i = 0; i < model->worker_count; i++) {
		struct worker *worker = model->workers + i;
		char name[16] = "";

		if (pthread_create(&worker->thread, NULL, work, worker)) {
			log_line("no thread for model %s",
				 model->options->name);
			return -1;
		}
		worker->started = true;
		snprintf(name, sizeof(name), "%.15s", model->options->name);
		pthread_setname_np(worker->thread, name);
	}
	return 0;
}

int model_stop(struct model *model)
{
	struct timespec until = { 0 };

	pthread_mutex_lock(&model->lock);
	model->stopping = true;
	pthread_cond_broadcast(&model->work);
	pthread_mutex_unlock(&model->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_SECONDS;
	for (uint32_t i = 0; i < model->worker_count; i++)
		if (model->workers[i].started &&
		    pthread_timedjoin_np(model->workers[i].thread, NULL,
					 &until)) {
			log_line("model %s: a call to the TEE does not return",
				 model->options->name);
			return -1;
		}
	return 0;
}

void model_free(struct model *model)
{
	for (uint32_t i = 0; i < model->worker_count; i++) {
		struct worker *worker = model->workers + i;

		for (uint32_t j = 0; worker->seats && j < worker->seat_count;
		     j++)
			tzml_close(worker->seats[j].session);
		free(worker->seats);
	}
	free(model->workers);
	free(model->grant);
	signature_free(&model->signature);
}

bool model_ready(struct model *model)
{
	uint64_t timeout = model->settings->timeout * UINT64_C(1000);
	bool ready = true;

	pthread_mutex_lock(&model->lock);
	for (uint32_t i = 0; i < model->worker_count; i++) {
		const struct worker *worker = model->workers + i;

		if (worker->broken || (worker->busy_since &&
				       now_ms() - worker->busy_since > timeout))
			ready = false;
	}
	ready = ready && model->has_signature && !model->stopping &&
		(model->joined || !model->settings->stages);
	pthread_mutex_unlock(&model->lock);
	return ready;
}

uint64_t model_most_body(const struct model *model)
{
	const struct signature *signature = &model->signature;
	/* of a number in JSON, with its comma and brackets */
	const uint64_t longest = 32;

	if (model->settings->stages)
		return stage_most_body(model);
	return 65536 +
	       model->settings->samples * (longest * signature->input_elements);
}

/* A worker whose sessions the leader may use for a run that will be short. */
static struct worker *idle_worker(struct model *model)
{
	uint32_t count = model->signature.stateful ? 1 : model->worker_count;

	if (!STAILQ_EMPTY(&model->queue) || !model->last_run ||
	    model->last_run > SHORT_RUN_NS)
		return NULL;
	for (uint32_t i = 0; i < count; i++) {
		struct worker *worker = model->workers + i;

		if (worker->idle && !worker->lent && !worker->looks &&
		    !worker->broken)
			return worker;
	}
	return NULL;
}

bool model_submit(struct model *model, struct job *job,
		  void (*suspend)(struct exchange *exchange),
		  struct worker **lent)
{
	struct worker *worker = NULL;
	bool room = false;

	pthread_mutex_lock(&model->lock);
	room = model->queued < model->settings->queue && !model->stopping;
	if (room) {
		uint64_t now = now_ms();

		job->deadline = now + model->settings->timeout * UINT64_C(1000);
		LIST_INSERT_HEAD(&model->jobs, job, all);
		if (lent)
			*lent = worker = idle_worker(model);
		if (worker) {
			worker->lent = true;
			worker->busy_since = now;
		} else {
			suspend(job->exchange);
			job->queued = true;
			STAILQ_INSERT_TAIL(&model->queue, job, entry);
			model->queued++;
		}
	} else {
		model->refused++;
	}
	pthread_mutex_unlock(&model->lock);
	/* only now: whoever wakes up takes the lock first */
	if (room && !worker)
		pthread_cond_broadcast(&model->work);
	return room;
}

/* Answer the jobs whose time is over, or all. */
static void answer_jobs(struct model *model, bool all)
{
	struct job *job = NULL;
	struct job *next = NULL;

	pthread_mutex_lock(&model->lock);
	for (job = LIST_FIRST(&model->jobs); job; job = next) {
		struct answer answer = { 0 };

		next = LIST_NEXT(job, all);
		if (!job->exchange || (!all && now_ms() < job->deadline))
			continue;
		if (all)
			answer_error(&answer, 503, "the server stops");
		else
			answer_error(&answer, 504,
				     "no answer after %u s (tzml-serve "
				     "--timeout)",
				     model->settings->timeout);
		exchange_finish(job->exchange, &answer);
		job->exchange = NULL; /* whoever takes it drops it */
	}
	pthread_mutex_unlock(&model->lock);
}

void model_expire(struct model *model)
{
	answer_jobs(model, false);
}

void model_abandon(struct model *model)
{
	answer_jobs(model, true);
}

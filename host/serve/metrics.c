// SPDX-License-Identifier: Apache-2.0
/* Counters, in the text format of Prometheus. */
#include <inttypes.h>
#include <stdio.h>

#include "serve.h"

static const double bounds[BUCKET_COUNT] = BUCKETS;
static const unsigned int statuses[STATUS_COUNT] = STATUSES;
static _Atomic uint64_t status_counts[STATUS_COUNT + 1];
static _Atomic uint64_t connections_opened;
static _Atomic uint64_t connections_evicted;

void histogram_add(struct histogram *histogram, uint64_t nanoseconds)
{
	uint32_t i = 0;

	while (i < BUCKET_COUNT && (double)nanoseconds > bounds[i] * 1e9)
		i++;
	histogram->counts[i]++;
	histogram->nanoseconds += nanoseconds;
}

void count_status(unsigned int status)
{
	uint32_t i = 0;

	while (i < STATUS_COUNT && statuses[i] != status)
		i++;
	status_counts[i]++;
}

void count_connection(bool evicted)
{
	(*(evicted ? &connections_evicted : &connections_opened))++;
}

static void describe(struct text *text, const char *name, const char *type,
		     const char *help)
{
	text_print(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
		   type);
}

/* `label` is empty, or a label with its value and a comma. */
static void write_histogram(struct text *text, const char *name,
			    const char *label, struct histogram *histogram)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < BUCKET_COUNT; i++) {
		count += histogram->counts[i];
		text_print(text, "%s_bucket{%sle=\"%g\"} %" PRIu64 "\n", name,
			   label, bounds[i], count);
	}
	count += histogram->counts[BUCKET_COUNT];
	text_print(text, "%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, label,
		   count);
	text_print(text, "%s_sum{%s} %.9f\n%s_count{%s} %" PRIu64 "\n", name,
		   label, (double)histogram->nanoseconds / 1e9, name, label,
		   count);
}

struct gauge {
	const char *name;
	const char *type;
	const char *help;
	uint64_t (*value)(struct model *model);
};

static uint64_t ready(struct model *model)
{
	return model_ready(model);
}

static uint64_t queued(struct model *model)
{
	uint64_t count = 0;

	pthread_mutex_lock(&model->lock);
	count = model->queued;
	pthread_mutex_unlock(&model->lock);
	return count;
}

static uint64_t inferences(struct model *model)
{
	return model->inferences;
}

static uint64_t openings(struct model *model)
{
	return model->openings;
}

static uint64_t failures(struct model *model)
{
	return model->failures;
}

static uint64_t refused(struct model *model)
{
	return model->refused;
}

static uint64_t abandoned(struct model *model)
{
	return model->abandoned;
}

static uint64_t sequences(struct model *model)
{
	return model->sequences;
}

static const struct gauge gauges[] = {
	{ "tzml_serve_model_ready", "gauge",
	  "1 if the model answers, 0 if its TA or OP-TEE does not.", ready },
	{ "tzml_serve_queue_length", "gauge", "Requests that wait.", queued },
	{ "tzml_serve_sequences", "gauge", "Sequences that are open.",
	  sequences },
	{ "tzml_serve_inferences_total", "counter", "Samples that were run.",
	  inferences },
	{ "tzml_serve_refused_total", "counter",
	  "Requests for which the queue had no room.", refused },
	{ "tzml_serve_abandoned_total", "counter",
	  "Requests that were not run, because nobody waited any more.",
	  abandoned },
	{ "tzml_serve_sessions_opened_total", "counter",
	  "Sessions that were opened, again or for the first time.", openings },
	{ "tzml_serve_sessions_lost_total", "counter",
	  "Sessions that ended because the TA or OP-TEE failed.", failures },
};

void metrics_write(struct text *text, struct server *server)
{
	const struct options *options = server->options;

	for (uint32_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++) {
		describe(text, gauges[i].name, gauges[i].type, gauges[i].help);
		for (uint32_t j = 0; j < options->model_count; j++)
			text_print(text, "%s{model=\"%s\"} %" PRIu64 "\n",
				   gauges[i].name, options->models[j].name,
				   gauges[i].value(server->models + j));
	}
	describe(text, "tzml_serve_inference_seconds", "histogram",
		 "Wall time of a sample in the model's world.");
	for (uint32_t j = 0; j < options->model_count; j++) {
		char label[NAME_SIZE + 16] = "";

		snprintf(label, sizeof(label), "model=\"%s\",",
			 options->models[j].name);
		write_histogram(text, "tzml_serve_inference_seconds", label,
				&server->models[j].run);
	}
	describe(text, "tzml_serve_request_seconds", "histogram",
		 "Wall time from the end of a request's header to its answer.");
	write_histogram(text, "tzml_serve_request_seconds", "",
			&server->requests);
	describe(text, "tzml_serve_responses_total", "counter",
		 "Answers by HTTP status; 0: another one.");
	for (uint32_t i = 0; i <= STATUS_COUNT; i++)
		text_print(
			text,
			"tzml_serve_responses_total{code=\"%u\"} %" PRIu64 "\n",
			i < STATUS_COUNT ? statuses[i] : 0, status_counts[i]);
	describe(text, "tzml_serve_connections", "gauge",
		 "Connections that are open.");
	text_print(text, "tzml_serve_connections %u\n", server->connections);
	describe(text, "tzml_serve_connections_opened_total", "counter",
		 "Connections that were accepted.");
	text_print(text, "tzml_serve_connections_opened_total %" PRIu64 "\n",
		   connections_opened);
	describe(
		text, "tzml_serve_connections_evicted_total", "counter",
		"Connections that were closed because they were slow or idle.");
	text_print(text, "tzml_serve_connections_evicted_total %" PRIu64 "\n",
		   connections_evicted);
	describe(text, "tzml_serve_request_bytes", "gauge",
		 "Bytes of the requests that are here.");
	text_print(text, "tzml_serve_request_bytes %" PRIu64 "\n",
		   server->body_bytes);
}

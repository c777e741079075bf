// SPDX-License-Identifier: Apache-2.0
/* Which path is what. Models' requests only begin here: they have bodies. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

static void answer_text(struct exchange *exchange, const char *type)
{
	exchange->answer.status = 200;
	exchange->answer.json_size = exchange->answer.text.size;
	exchange->answer.type = type;
	exchange->answered = true;
}

static void answer_ready(struct exchange *exchange, bool ready,
			 const char *what)
{
	if (ready && !exchange->server->stopping) {
		text_print(&exchange->answer.text, "{\"ready\":true}");
		answer_text(exchange, JSON);
		return;
	}
	answer_error(&exchange->answer, 503, "%s is not ready", what);
	exchange->answer.retry_after = 1;
	exchange->answered = true;
}

static bool all_ready(struct server *server)
{
	bool ready = true;

	for (uint32_t i = 0; i < server->options->model_count; i++)
		ready = model_ready(server->models + i) && ready;
	return ready;
}

static struct model *find_model(struct server *server, const char *name,
				size_t size)
{
	for (uint32_t i = 0; i < server->options->model_count; i++) {
		const char *known = server->options->models[i].name;

		if (strlen(known) == size && !memcmp(known, name, size))
			return server->models + i;
	}
	return NULL;
}

/* A header that is a number; -1: it is none, or above `most`. */
static int64_t read_number(const char *text, uint64_t most)
{
	char *end = NULL;
	unsigned long long number = 0;

	if (*text < '0' || *text > '9')
		return -1;
	errno = 0;
	number = strtoull(text, &end, 10);
	return errno || *end || number > most ? -1 : (int64_t)number;
}

/* See from the header of a request to a model whether to take its body. */
static void begin_inference(struct exchange *exchange)
{
	struct MHD_Connection *connection = exchange->connection;
	const char *length = MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
	const char *json = MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, "Inference-Header-Content-Length");
	const char *encoding = MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_ENCODING);
	int64_t size = 0;

	if (exchange->server->stopping ||
	    (exchange->kind == JOB_INFER && !exchange->model->has_signature)) {
		refuse(exchange, 503,
		       exchange->server->stopping ? "the server stops"
						  : "the model is not open");
		exchange->answer.retry_after = 1;
		return;
	}
	/* how long its records are, a stage knows from its first release on */
	if (exchange->kind == JOB_RECORD && !exchange->model->taken_size) {
		refuse(exchange, 503, "the stage has no keys (NOT_RELEASED)");
		exchange->answer.retry_after = 1;
		return;
	}
	exchange->most = model_most_body(exchange->model);
	if (encoding && strcasecmp(encoding, "identity")) {
		refuse(exchange, 415,
		       "a body that is compressed is not supported");
		return;
	}
	if (json) {
		int64_t number = read_number(json, SIZE_MAX / 2);

		if (number <= 0) {
			refuse(exchange, 400,
			       "Inference-Header-Content-Length is not the "
			       "number of bytes of the JSON");
			return;
		}
		exchange->json_size = (size_t)number;
	}
	if (!length)
		return;
	size = read_number(length, INT64_MAX);
	if (size < 0 || (uint64_t)size > exchange->most) {
		answer_error(&exchange->answer, 413,
			     "the body has %s bytes, but the model's inputs "
			     "can take %zu at most",
			     length, exchange->most);
		exchange->answered = true;
		exchange->discarded = size < 0 ? MOST_DISCARDED : 0;
		if (size > MOST_DISCARDED)
			exchange->discarded = MOST_DISCARDED;
		return;
	}
	grow(exchange, (size_t)size);
}

/* What a path below a model's asks of it, with a body. */
static bool find_kind(const char *path, enum job_kind *kind)
{
	static const char *const paths[] = {
		[JOB_INFER] = "/infer",
		[JOB_STAGE] = "/stage",
		[JOB_RELEASE] = "/release",
		[JOB_RECORD] = "/record",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (strcmp(path, paths[i]))
			continue;
		*kind = (enum job_kind)i;
		return true;
	}
	return false;
}

static void route_model(struct exchange *exchange, const char *rest, bool get,
			const char *method)
{
	size_t size = strcspn(rest, "/");
	struct model *model = find_model(exchange->server, rest, size);
	const char *what = rest + size;

	if (!model) {
		answer_error(&exchange->answer, 404,
			     "there is no model %.*s here",
			     size < 200 ? (int)size : 200, rest);
		exchange->answered = true;
	} else if (find_kind(what, &exchange->kind)) {
		exchange->model = model;
		if (strcmp(method, "POST"))
			refuse(exchange, 405, "this path takes POST");
		else if ((exchange->kind == JOB_INFER) ==
			 !!exchange->server->options->stages)
			refuse(exchange, 404,
			       exchange->kind == JOB_INFER
				       ? "this model is a stage of a pipeline: "
					 "it takes records"
				       : "this model is no stage of a pipeline "
					 "(tzml-serve --stages)");
		else
			begin_inference(exchange);
	} else if (strcmp(what, "") && strcmp(what, "/ready")) {
		refuse(exchange, 404,
		       "there is no such path: models have no versions here");
	} else if (!get) {
		refuse(exchange, 405, "this path takes GET");
	} else if (*what) {
		answer_ready(exchange, model_ready(model), "the model");
	} else if (!model->has_signature) {
		answer_ready(exchange, false, "the model");
	} else {
		model_metadata_write(&exchange->answer.text,
				     model->options->name, &model->signature);
		answer_text(exchange, JSON);
	}
}

void route(struct exchange *exchange, const char *path, const char *method)
{
	static const char models[] = "/v2/models/";
	bool get = !strcmp(method, "GET") || !strcmp(method, "HEAD");

	if (!strncmp(path, models, sizeof(models) - 1))
		route_model(exchange, path + sizeof(models) - 1, get, method);
	else if (strcmp(path, "/v2") && strcmp(path, "/v2/") &&
		 strcmp(path, "/v2/health/live") &&
		 strcmp(path, "/v2/health/ready") && strcmp(path, "/metrics"))
		refuse(exchange, 404, "there is no such path");
	else if (!get)
		refuse(exchange, 405, "this path takes GET");
	else if (!strcmp(path, "/v2/health/ready"))
		answer_ready(exchange, all_ready(exchange->server),
			     "the server");
	else if (!strcmp(path, "/v2/health/live")) {
		text_print(&exchange->answer.text, "{\"live\":true}");
		answer_text(exchange, JSON);
	} else if (!strcmp(path, "/metrics")) {
		metrics_write(&exchange->answer.text, exchange->server);
		answer_text(exchange, METRICS);
	} else {
		server_metadata_write(&exchange->answer.text);
		answer_text(exchange, JSON);
	}
}

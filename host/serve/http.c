// SPDX-License-Identifier: Apache-2.0
/*
 * The HTTP server, on libmicrohttpd. One thread moves the bytes of all
 * connections; models' workers do all else, unless a run is short (loop.c). A
 * connection whose request is in a queue is suspended.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http.h"

/* What a connection's header may take. */
#define CONNECTION_MEMORY (32 * 1024)

void answer_error(struct answer *answer, unsigned int status,
		  const char *format, ...)
{
	char message[600] = "";
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	text_free(&answer->text);
	*answer = (struct answer){ .status = status };
	error_write(&answer->text, message);
	answer->json_size = answer->text.size;
}

/* Exchanges */

bool exchange_is_abandoned(const struct exchange *exchange)
{
	struct pollfd poller = {
		.fd = exchange->peer->socket,
		.events = POLLRDHUP,
	};

	return poll(&poller, 1, 0) > 0 &&
	       poller.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

void exchange_finish(struct exchange *exchange, struct answer *answer)
{
	text_free(&exchange->answer.text);
	exchange->answer = *answer;
	exchange->answered = true;
	exchange->job = NULL;
	*answer = (struct answer){ 0 };
	if (exchange->suspended) {
		MHD_resume_connection(exchange->connection);
		loop_wake(&exchange->server->loop);
	}
}

static void suspend(struct exchange *exchange)
{
	exchange->suspended = true;
	wait_for(exchange->peer, false);
	MHD_suspend_connection(exchange->connection);
}

/*
 * Whether an exchange that was submitted is answered. It is suspended until
 * then, if it was not yet: the leader that runs it has lost the lead.
 */
static bool is_answered(struct exchange *exchange)
{
	const struct job *next = exchange->server->loop.job;
	bool answered = false;

	pthread_mutex_lock(&exchange->model->lock);
	answered = exchange->answered;
	/* the next one is run as soon as this returns */
	if (!answered && !exchange->suspended && exchange->job != next)
		suspend(exchange);
	pthread_mutex_unlock(&exchange->model->lock);
	return answered;
}

void refuse(struct exchange *exchange, unsigned int status, const char *message)
{
	answer_error(&exchange->answer, status, "%s", message);
	exchange->answered = true;
}

/* A number as text, at the end of its room. */
static const char *decimal(char number[32], size_t value)
{
	char *to = number + 31;

	*to = 0;
	do {
		*--to = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return to;
}

static enum MHD_Result respond(struct exchange *exchange)
{
	struct answer *answer = &exchange->answer;
	enum MHD_Result result = MHD_NO;
	struct MHD_Response *response = NULL;
	char number[32] = "";

	if (answer->text.failed) {
		answer->status = 503;
		answer->json_size = 0;
		answer->text.failed = false;
	}
	response = MHD_create_response_from_buffer(
		answer->text.size, answer->text.data, MHD_RESPMEM_MUST_FREE);
	if (!response)
		return MHD_NO;
	if (answer->json_size < answer->text.size) {
		MHD_add_response_header(response,
					"Inference-Header-Content-Length",
					decimal(number, answer->json_size));
		answer->type = BINARY;
	}
	answer->text = (struct text){ 0 };
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				answer->type ? answer->type : JSON);
	if (answer->retry_after) {
		MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER,
					decimal(number, answer->retry_after));
	}
	if (answer->status == 405)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW,
					exchange->model ? "POST" : "GET, HEAD");
	if (exchange->server->stopping)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION,
					"close");
	count_status(answer->status);
	histogram_add(&exchange->server->requests, now_ns() - exchange->begin);
	wait_for(exchange->peer, true);
	result = MHD_queue_response(exchange->connection, answer->status,
				    response);
	MHD_destroy_response(response);
	return result;
}

/* Bodies */

bool grow(struct exchange *exchange, size_t size)
{
	struct server *server = exchange->server;
	uint64_t most = (uint64_t)server->options->memory << 20;
	size_t room = size + REQUEST_PADDING;
	char *body = NULL;

	if (room <= exchange->room)
		return true;
	if (server->body_bytes - exchange->room + room <= most)
		body = realloc(exchange->body, room);
	if (!body) {
		refuse(exchange, 503,
		       "no memory for another request now (tzml-serve "
		       "--memory)");
		exchange->answer.retry_after = 1;
		return false;
	}
	server->body_bytes += room - exchange->room;
	exchange->body = body;
	exchange->room = room;
	return true;
}

static void drop_body(struct exchange *exchange)
{
	free(exchange->body);
	exchange->body = NULL;
	exchange->server->body_bytes -= exchange->room;
	exchange->room = 0;
}

static void take_bytes(struct exchange *exchange, const char *data, size_t size)
{
	if (!exchange->answered && size > exchange->most - exchange->size) {
		answer_error(&exchange->answer, 413,
			     "the body has more than %zu bytes, the most that "
			     "the model's inputs can take",
			     exchange->most);
		exchange->answered = true;
	}
	/* unknown sizes grow by doubling */
	if (!exchange->answered &&
	    exchange->size + size + REQUEST_PADDING > exchange->room)
		grow(exchange, exchange->size + size < exchange->most / 2
				       ? 2 * (exchange->size + size)
				       : exchange->most);
	if (exchange->answered) {
		exchange->discarded += size;
		return;
	}
	memcpy(exchange->body + exchange->size, data, size);
	exchange->size += size;
}

/*
 * Whether the leader may run a request itself: nobody else has asked, who would
 * have to wait for it.
 */
static bool may_run(const struct exchange *exchange)
{
	const struct server *server = exchange->server;

	return server->open_exchanges == 1 && !server->stopping &&
	       (exchange->kind == JOB_INFER || exchange->kind == JOB_RECORD) &&
	       loop_may_run(&server->loop);
}

/* What HAProxy calls the request, also when it sends it again. */
static void read_id(struct MHD_Connection *connection, char id[ID_SIZE])
{
	const char *found = MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, "X-Request-Id");

	/* a longer one is none: the request counts */
	if (found && strlen(found) < ID_SIZE)
		strcpy(id, found);
}

/* Whether it is in the queue now: then it is the worker's, until it is resumed. */
static bool submit(struct exchange *exchange)
{
	struct job *job = calloc(1, sizeof(*job));
	struct worker *worker = NULL;

	if (!job || !grow(exchange, exchange->size)) {
		if (!exchange->answered)
			refuse(exchange, 503, "no memory for the request");
		free(job);
		return false;
	}
	/* simdjson may look at them */
	memset(exchange->body + exchange->size, 0, REQUEST_PADDING);
	job->exchange = exchange;
	job->kind = exchange->kind;
	job->body = exchange->body;
	job->size = exchange->size;
	job->json_size =
		exchange->json_size ? exchange->json_size : exchange->size;
	memcpy(job->client, exchange->peer->client, CLIENT_SIZE);
	if (exchange->model->counts_runs)
		read_id(exchange->connection, job->id);
	exchange->job = job;
	if (model_submit(exchange->model, job, suspend,
			 may_run(exchange) ? &worker : NULL)) {
		exchange->submitted = true;
		/* the job's, though its bytes count till the exchange's end */
		exchange->body = NULL;
		if (worker) {
			wait_for(exchange->peer, false);
			exchange->server->loop.worker = worker;
			exchange->server->loop.job = job;
		}
		return true;
	}
	exchange->job = NULL;
	free(job);
	refuse(exchange, 503, "the queue is full");
	exchange->answer.retry_after = 1;
	return false;
}

static enum MHD_Result handle(void *opaque, struct MHD_Connection *connection,
			      const char *path, const char *method,
			      const char *version, const char *data,
			      size_t *size, void **context)
{
	struct exchange *exchange = *context;
	struct server *server = opaque;

	(void)version;
	if (!exchange) {
		struct peer *peer = peer_of(connection);

		exchange = peer ? calloc(1, sizeof(*exchange)) : NULL;
		if (!exchange)
			return MHD_NO;
		*context = exchange;
		exchange->server = server;
		exchange->connection = connection;
		exchange->peer = peer;
		exchange->begin = now_ns();
		server->open_exchanges++;
		wait_for(peer, true);
		route(exchange, path, method);
		if (exchange->answered && exchange->discarded >= MOST_DISCARDED)
			return respond(exchange);
		return MHD_YES;
	}
	if (*size) {
		take_bytes(exchange, data, *size);
		*size = 0;
		return exchange->discarded < MOST_DISCARDED ? MHD_YES : MHD_NO;
	}
	if (exchange->submitted)
		return is_answered(exchange) ? respond(exchange) : MHD_YES;
	if (!exchange->answered && submit(exchange))
		return MHD_YES;
	return respond(exchange);
}

static void complete(void *opaque, struct MHD_Connection *connection,
		     void **context, enum MHD_RequestTerminationCode code)
{
	struct exchange *exchange = *context;
	struct server *server = opaque;

	(void)connection;
	(void)code;
	if (!exchange)
		return;
	if (exchange->submitted) {
		pthread_mutex_lock(&exchange->model->lock);
		if (exchange->job)
			exchange->job->exchange = NULL;
		pthread_mutex_unlock(&exchange->model->lock);
	}
	wait_for(exchange->peer, true);
	drop_body(exchange);
	text_free(&exchange->answer.text);
	free(exchange);
	server->open_exchanges--;
	*context = NULL;
}

static void log_message(void *opaque, const char *format, va_list arguments)
{
	char line[512] = "";

	(void)opaque;
	vsnprintf(line, sizeof(line), format, arguments);
	line[strcspn(line, "\n")] = 0;
	log_line("%s", line);
}

static uint16_t port_of(struct MHD_Daemon *daemon)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);

	return info ? info->port : 0;
}

int server_start(struct server *server)
{
	const struct options *options = server->options;
	struct tls tls = { 0 };
	struct MHD_OptionItem secure[] = {
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, NULL },
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, NULL },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0,
		  "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2" },
		{ MHD_OPTION_HTTPS_MEM_TRUST, 0, NULL },
		{ MHD_OPTION_END, 0, NULL },
	};
	unsigned int flags =
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	if (tls_read(&tls, options))
		return -1;
	secure[0].ptr_value = tls.certificate;
	secure[1].ptr_value = tls.key;
	secure[3].ptr_value = tls.client_ca;
	if (!tls.client_ca)
		secure[3].option = MHD_OPTION_END;
	if (!tls.certificate)
		secure[0].option = MHD_OPTION_END;
	else
		flags |= MHD_USE_TLS;
	if (options->socket.any.sa_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	server->daemon = MHD_start_daemon(
		flags, (uint16_t)options->port, NULL, NULL, handle, server,
		MHD_OPTION_EXTERNAL_LOGGER, log_message, NULL,
		MHD_OPTION_SOCK_ADDR, &options->socket.any,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
		MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U,
		MHD_OPTION_CONNECTION_LIMIT, options->connections,
		MHD_OPTION_CONNECTION_TIMEOUT, options->timeout,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_NOTIFY_CONNECTION, notify_connection, server,
		MHD_OPTION_NOTIFY_COMPLETED, complete, server, MHD_OPTION_ARRAY,
		secure, MHD_OPTION_END);
	if (!server->daemon) {
		log_line("cannot listen on %s, port %u: %s", options->address,
			 options->port, strerror(errno));
	} else {
		bool v6 = options->socket.any.sa_family == AF_INET6;

		log_line("listening on %s://%s%s%s:%u",
			 tls.certificate ? "https" : "http", v6 ? "[" : "",
			 options->address, v6 ? "]" : "",
			 port_of(server->daemon));
	}
	tls_free(&tls);
	return server->daemon ? loop_start(server) : -1;
}

void server_stop(struct server *server)
{
	uint64_t until = now_ms() + server->options->grace * UINT64_C(1000);
	const struct timespec pause = { .tv_nsec = 20000000 };
	MHD_socket listener = MHD_INVALID_SOCKET;

	server->stopping = true;
	listener = MHD_quiesce_daemon(server->daemon);
	if (listener != MHD_INVALID_SOCKET)
		close(listener);
	while (server->open_exchanges && now_ms() < until) {
		for (uint32_t i = 0; i < server->options->model_count; i++)
			model_expire(server->models + i);
		nanosleep(&pause, NULL);
	}
	if (server->open_exchanges)
		log_line("%u requests were not answered within %u s",
			 server->open_exchanges, server->options->grace);
	/* what is left is answered with 503 before the connections are closed */
	for (uint32_t i = 0; i < server->options->model_count; i++)
		model_abandon(server->models + i);
	for (int i = 0; server->open_exchanges && i < 10; i++)
		nanosleep(&pause, NULL);
	if (!loop_stop(server))
		MHD_stop_daemon(server->daemon);
}

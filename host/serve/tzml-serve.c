// SPDX-License-Identifier: Apache-2.0
/* The program: models are opened, then the server listens, until a signal. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "serve.h"

void log_line(const char *format, ...)
{
	char line[1024] = "";
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	fprintf(stderr, "tzml-serve: %s\n", line);
}

/* Tell systemd, if it is there: sd_notify(3). */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int out = -1;

	if (!path || strlen(path) >= sizeof(address.sun_path))
		return;
	strcpy(address.sun_path, path);
	if (*path == '@')
		*address.sun_path = 0;
	out = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (out < 0)
		return;
	sendto(out, state, strlen(state), MSG_NOSIGNAL,
	       (struct sockaddr *)&address,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			   strlen(path)));
	close(out);
}

static void wait_for_signal(struct server *server, const sigset_t *signals)
{
	/* a time-out is noticed a twentieth too late, at most */
	uint64_t pause = server->options->timeout * UINT64_C(1000) / 20;
	struct timespec tick = { .tv_sec = 1 };

	if (pause < 1000)
		tick = (struct timespec){ .tv_nsec = (long)pause * 1000000 };
	while (sigtimedwait(signals, NULL, &tick) < 0) {
		server_expire(server);
		for (uint32_t i = 0; i < server->options->model_count; i++)
			model_expire(server->models + i);
	}
}

static int serve(struct server *server)
{
	const struct options *options = server->options;
	sigset_t signals;

	for (uint32_t i = 0; i < options->model_count; i++)
		if (model_open(server->models + i, options,
			       options->models + i))
			return 1;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	for (uint32_t i = 0; i < options->model_count; i++)
		if (model_start(server->models + i))
			_exit(1);
	if (server_start(server))
		_exit(1);
	notify("READY=1");
	wait_for_signal(server, &signals);
	notify("STOPPING=1");
	log_line("stopping");
	server_stop(server);
	for (uint32_t i = 0; i < options->model_count; i++)
		if (model_stop(server->models + i))
			_exit(1); /* which ends such a call */
	return 0;
}

int main(int argc, char **argv)
{
	static struct options options;
	static struct server server;
	int code = 0;

	/* whole lines, which those of other processes do not interrupt */
	setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
	code = options_read(&options, argc, argv);
	if (code >= 0)
		return code;
	server.options = &options;
	server.models = calloc(options.model_count, sizeof(struct model));
	if (!server.models) {
		log_line("no memory for the models");
		return 1;
	}
	code = serve(&server);
	for (uint32_t i = 0; i < options.model_count; i++)
		model_free(server.models + i);
	free(server.models);
	return code;
}

// SPDX-License-Identifier: Apache-2.0
/*
 * Who moves the bytes of all connections. Two threads take turns at it, so that
 * a short run needs no other thread: the one that leads reads a request, runs
 * it, and writes the answer. The other one stands by. It takes the lead when a
 * run takes longer than it should, and whoever ran it stands by then.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "http.h"

/* A run that takes longer loses the lead within two of these. */
#define TICK_NS 5000000

bool loop_may_run(const struct loop *loop)
{
	return loop->stands_by && !loop->ends;
}

/* The leader is away for a run. It tells who stands by, unless that one looks anyway. */
static void leave(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->away = true;
	loop->runs++;
	if (!loop->watches) {
		loop->watches = true;
		pthread_cond_signal(&loop->wake);
	}
	pthread_mutex_unlock(&loop->lock);
}

/* Whether it still leads. */
static bool come_back(struct loop *loop)
{
	bool leads = false;

	pthread_mutex_lock(&loop->lock);
	leads = loop->away;
	loop->away = false;
	pthread_mutex_unlock(&loop->lock);
	return leads;
}

void loop_wake(struct loop *loop)
{
	uint64_t one = 1;

	if (write(loop->events, &one, sizeof(one)) < 0)
		log_line("eventfd: %s", strerror(errno));
}

/* Of the sockets, of libmicrohttpd's own time-outs, or of loop_wake. */
static void wait_for_events(struct server *server)
{
	struct pollfd pollers[] = {
		{ .fd = server->loop.sockets, .events = POLLIN },
		{ .fd = server->loop.events, .events = POLLIN },
	};
	MHD_UNSIGNED_LONG_LONG most = 0;
	int timeout = -1;
	uint64_t count = 0;

	if (MHD_get_timeout(server->daemon, &most) == MHD_YES)
		timeout = most < INT_MAX ? (int)most : INT_MAX;
	if (!timeout)
		return;
	/* the count itself says nothing */
	if (poll(pollers, 2, timeout) > 0 && pollers[1].revents &&
	    read(server->loop.events, &count, sizeof(count)) < 0)
		log_line("eventfd: %s", strerror(errno));
}

static void lead(struct server *server)
{
	struct loop *loop = &server->loop;
	bool leads = true;

	while (leads && !loop->ends) {
		struct worker *worker = NULL;
		struct job *job = NULL;

		wait_for_events(server);
		MHD_run(server->daemon);
		worker = loop->worker;
		job = loop->job;
		if (!worker)
			continue;
		/* they are of the thread that leads, whichever it is */
		loop->worker = NULL;
		loop->job = NULL;
		leave(loop);
		worker_run(worker, job);
		leads = come_back(loop);
	}
}

/* Wait until the leader is away for longer than a tick. False: the loop ends. */
static bool stand_by(struct loop *loop)
{
	bool leads = false;

	pthread_mutex_lock(&loop->lock);
	loop->stands_by = true;
	while (!leads && !loop->ends) {
		struct timespec until = { 0 };
		uint64_t before = 0;

		while (!loop->watches && !loop->ends)
			pthread_cond_wait(&loop->wake, &loop->lock);
		before = loop->runs;
		until = time_after(TICK_NS);
		while (!loop->ends &&
		       pthread_cond_timedwait(&loop->wake, &loop->lock,
					      &until) != ETIMEDOUT)
			;
		if (loop->runs != before)
			continue;
		leads = loop->away && !loop->ends;
		/* otherwise nothing is run, and it sleeps until something is */
		loop->watches = false;
	}
	if (leads) {
		loop->away = false;
		loop->stands_by = false;
	}
	pthread_mutex_unlock(&loop->lock);
	return leads;
}

static void *move(void *opaque)
{
	struct server *server = opaque;
	struct loop *loop = &server->loop;

	/* the first one leads, and so does who takes the lead */
	if (atomic_fetch_add(&loop->started, 1) == 0)
		lead(server);
	while (stand_by(loop))
		lead(server);
	return NULL;
}

int loop_start(struct server *server)
{
	struct loop *loop = &server->loop;
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	pthread_condattr_t attributes;

	loop->events = eventfd(0, EFD_CLOEXEC);
	if (!info || loop->events < 0)
		return -1;
	loop->sockets = info->epoll_fd;

	pthread_mutex_init(&loop->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&loop->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	for (uint32_t i = 0; i < LOOP_THREADS; i++) {
		if (pthread_create(loop->threads + i, NULL, move, server))
			return -1;
		pthread_setname_np(loop->threads[i], "loop");
	}
	return 0;
}

int loop_stop(struct server *server)
{
	struct loop *loop = &server->loop;
	struct timespec until = { 0 };
	int status = 0;

	pthread_mutex_lock(&loop->lock);
	loop->ends = true;
	pthread_cond_signal(&loop->wake);
	pthread_mutex_unlock(&loop->lock);
	loop_wake(loop);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	for (uint32_t i = 0; i < LOOP_THREADS; i++)
		if (pthread_timedjoin_np(loop->threads[i], NULL, &until))
			status = -1;
	return status;
}

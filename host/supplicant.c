// SPDX-License-Identifier: Apache-2.0
/*
 * What to do about a tee-supplicant that is missing or hangs. OP-TEE asks it
 * for files, and Linux lets the caller wait for its answer as long as it
 * takes; only the end of the process ends that. So calls that may lead there
 * are made on a thread of their own, which is watched, and left behind when it
 * waits in vain.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connection.h"

#define LOOK_EVERY_MS 200

/*
 * Seconds of one and the same wait. A service manager restarts the supplicant
 * within a second or two; one that runs may be waiting for a slow disk.
 */
#define MISSING_SECONDS 5
#define SILENT_SECONDS	30

/* What a thread of this process does. */
struct activity {
	unsigned long long switches; /* how often it went to sleep */
	bool asleep;
	bool waits_for_supplicant;
};

static FILE *open_task_file(pid_t thread, const char *name)
{
	char path[64] = "";

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s", thread, name);
	return fopen(path, "re");
}

static struct activity look_at(pid_t thread)
{
	struct activity activity = { 0 };
	char line[256] = "";
	FILE *file = open_task_file(thread, "status");

	while (file && fgets(line, sizeof(line), file)) {
		char state = 0;

		if (sscanf(line, "State: %c", &state) == 1)
			activity.asleep = state == 'S' || state == 'D';
		sscanf(line, "voluntary_ctxt_switches: %llu",
		       &activity.switches);
	}
	if (file)
		fclose(file);
	/* the kernel's function that sleeps: drivers/tee/optee/supp.c */
	file = open_task_file(thread, "wchan");
	if (file && fgets(line, sizeof(line), file))
		activity.waits_for_supplicant =
			activity.asleep && strstr(line, "optee_supp");
	if (file)
		fclose(file);
	return activity;
}

/* The process tee-supplicant, or 0 if there is none to be seen. */
static pid_t find_supplicant(void)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry = NULL;
	pid_t found = 0;

	while (processes && !found && (entry = readdir(processes))) {
		char path[300] = "";
		char name[32] = "";
		FILE *file = NULL;

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		file = fopen(path, "re");
		if (file && fgets(name, sizeof(name), file) &&
		    !strcmp(name, "tee-supplicant\n"))
			found = atoi(entry->d_name);
		if (file)
			fclose(file);
	}
	if (processes)
		closedir(processes);
	return found;
}

/*
 * Whether a thread that has done nothing but `activity` for so long waits in
 * vain. One that sleeps elsewhere waits for another session, which may itself
 * wait for the supplicant.
 */
static bool is_in_vain(const struct activity *activity, uint64_t seconds)
{
	pid_t supplicant = 0;

	if (!activity->asleep || seconds < MISSING_SECONDS)
		return false;
	supplicant = find_supplicant();
	if (!supplicant) {
		fail(TZML_ERROR_NO_SUPPLICANT,
		     "no process tee-supplicant, for %d s", MISSING_SECONDS);
		return true;
	}
	if (!activity->waits_for_supplicant || seconds < SILENT_SECONDS)
		return false;
	fail(TZML_ERROR_NO_SUPPLICANT, "process %d, for %d s", (int)supplicant,
	     SILENT_SECONDS);
	return true;
}

void guard_init(struct guarded_call *call)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&call->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&call->ended, &attributes);
	pthread_condattr_destroy(&attributes);
	call->done = true;
}

void guard_destroy(struct guarded_call *call)
{
	pthread_cond_destroy(&call->ended);
	pthread_mutex_destroy(&call->lock);
}

static void *make_call(void *opaque)
{
	struct guarded_call *call = opaque;
	bool abandoned = false;

	pthread_mutex_lock(&call->lock);
	call->thread = gettid();
	pthread_mutex_unlock(&call->lock);
	call->function(call->context);
	pthread_mutex_lock(&call->lock);
	call->done = true;
	abandoned = call->abandoned;
	pthread_cond_signal(&call->ended);
	pthread_mutex_unlock(&call->lock);
	if (abandoned)
		call->dispose(call->context);
	return NULL;
}

/* Begin a call; 0, or an error number. Signals are for the other threads. */
static int start(struct guarded_call *call)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t before;
	sigset_t all;
	int error = 0;

	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, &attributes, make_call, call);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return error;
}

/* Wait for the end of the call, or a while. */
static void wait_a_while(struct guarded_call *call)
{
	uint64_t until = now() + LOOK_EVERY_MS * UINT64_C(1000000);
	struct timespec time = {
		.tv_sec = (time_t)(until / 1000000000),
		.tv_nsec = (long)(until % 1000000000),
	};
	int error = 0;

	while (!call->done && error != ETIMEDOUT)
		error = pthread_cond_timedwait(&call->ended, &call->lock,
					       &time);
}

enum tzml_status guard_call(struct guarded_call *call,
			    void (*function)(void *context), void *context)
{
	enum tzml_status status = TZML_SUCCESS;
	struct activity last = { 0 };
	uint64_t since = now();

	call->function = function;
	call->context = context;
	call->thread = 0;
	call->done = false;
	if (start(call)) { /* no thread: better without a guard than not */
		function(context);
		call->done = true;
		return TZML_SUCCESS;
	}
	pthread_mutex_lock(&call->lock);
	for (;;) {
		struct activity activity = { 0 };

		wait_a_while(call);
		if (call->done)
			break;
		activity = look_at(call->thread);
		if (activity.switches != last.switches || !activity.asleep) {
			last = activity;
			since = now();
		} else if (is_in_vain(&activity,
				      (now() - since) / 1000000000)) {
			status = TZML_ERROR_NO_SUPPLICANT;
			break;
		}
	}
	pthread_mutex_unlock(&call->lock);
	return status;
}

bool guard_abandon(struct guarded_call *call, void (*dispose)(void *context))
{
	bool abandoned = false;

	pthread_mutex_lock(&call->lock);
	abandoned = !call->done;
	call->dispose = dispose;
	call->abandoned = abandoned;
	pthread_mutex_unlock(&call->lock);
	return abandoned;
}

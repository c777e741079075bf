/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of tzml-serve have in common. */
#ifndef SERVE_H
#define SERVE_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>

#include "protocol.h"

#define MOST_MODELS 32
#define NAME_SIZE   129
/* SHA-256 of a client's certificate; zeros where there is none */
#define CLIENT_SIZE 32

/* options.c */

struct model_options {
	char name[NAME_SIZE];
	const char *path;
	const char *grant; /* a file, or NULL */
	uint32_t entry;
};

struct options {
	struct model_options models[MOST_MODELS];
	uint32_t model_count;
	uint32_t world;
	const char *address; /* of the socket, as given */
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} socket;
	const char *certificate;
	const char *key;
	const char *client_ca;
	uint32_t port;
	uint32_t instances;
	uint32_t stages; /* not 0: models take records, and nothing else */
	uint32_t queue;
	uint32_t samples;
	uint32_t sequences;
	uint32_t sequence_idle; /* seconds, as those below */
	uint32_t timeout;
	uint32_t grace;
	uint32_t probe;
	uint32_t connections;
	uint32_t memory; /* MiB */
};

/* Read the command line; -1 to go on, or the exit code. */
int options_read(struct options *options, int argc, char **argv);

/* Nanoseconds of a clock that is never set. */
static inline uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Milliseconds of it. */
static inline uint64_t now_ms(void)
{
	return now_ns() / 1000000;
}

/* So many nanoseconds from now, on that clock. */
static inline struct timespec time_after(uint64_t nanoseconds)
{
	const uint64_t until = now_ns() + nanoseconds;

	return (struct timespec){
		.tv_sec = (time_t)(until / 1000000000),
		.tv_nsec = (long)(until % 1000000000),
	};
}

/* A line for the journal. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* metrics.c */

/* Upper bounds of the histograms, in seconds. */
#define BUCKETS                                            \
	{ 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, \
	  0.1,	  0.25,	 0.5,	 1,	2.5,  5,     10 }
#define BUCKET_COUNT 14

struct histogram {
	_Atomic uint64_t counts[BUCKET_COUNT + 1];
	_Atomic uint64_t nanoseconds;
};

void histogram_add(struct histogram *histogram, uint64_t nanoseconds);

/* HTTP statuses that are counted apart: the others are counted as 0. */
#define STATUSES { 200, 400, 403, 404, 405, 408, 409, 413, 415, 500, 503, 504 }
#define STATUS_COUNT 12

void count_status(unsigned int status);
void count_connection(bool evicted);

struct server;
void metrics_write(struct text *text, struct server *server);

/* model.c */

struct exchange;

/* What is asked of a model: the last three only of a stage. */
enum job_kind {
	JOB_INFER,
	JOB_STAGE,   /* a nonce; the evidence for the session's new key */
	JOB_RELEASE, /* the release with the keys of an epoch */
	JOB_RECORD,  /* a sealed record, and the one that comes of it */
};

/* A request to a model, from the last byte of its body to the answer. */
struct job {
	STAILQ_ENTRY(job) entry;
	LIST_ENTRY(job) all;
	struct exchange *exchange; /* NULL: nobody waits for it any more */
	enum job_kind kind;
	char *body;
	size_t size;
	size_t json_size;
	uint8_t client[CLIENT_SIZE];
	char id[ID_SIZE];  /* the header's, if runs are counted; or empty */
	uint64_t deadline; /* now_ms() */
	bool queued;
};

/* An answer; `json_size` is text.size if it has no binary tensors. */
struct answer {
	unsigned int status;
	struct text text;
	size_t json_size;
	const char *type;
	uint32_t retry_after; /* seconds; 0: nothing is said of it */
};

/* A session, and the sequence that has it. */
struct seat {
	struct tzml_session *session;
	bool taken;
	uint8_t client[CLIENT_SIZE];
	char sequence[ID_SIZE];
	uint64_t used; /* now_ms() */
};

struct worker {
	struct model *model;
	pthread_t thread;
	bool started;
	struct seat *seats;
	uint32_t seat_count;
	bool broken;	     /* what it opened last could not be opened */
	uint64_t busy_since; /* now_ms(), or 0 */
	/* with the model's lock */
	bool idle;  /* it waits for a job */
	bool lent;  /* the leader (loop.c) uses its sessions */
	bool looks; /* after what the leader left */
	uint64_t next_attempt;
	uint64_t pause; /* until the attempt after it */
};

struct model {
	const struct model_options *options;
	const struct options *settings;
	void *grant;
	size_t grant_size;
	atomic_bool has_signature;
	atomic_bool counts_runs; /* a budget is used up */
	/* of a stage */
	atomic_bool joined;	     /* it has keys */
	_Atomic uint64_t taken_size; /* bytes of the records that it takes */
	uint64_t given_size;	     /* and gives */
	struct signature signature;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t work;
	STAILQ_HEAD(, job) queue;
	LIST_HEAD(, job) jobs; /* in the queue and in the workers' hands */
	uint32_t queued;
	bool stopping;
	struct worker *workers;
	uint32_t worker_count;
	/* counted without the lock */
	_Atomic uint64_t inferences;
	_Atomic uint64_t openings;
	_Atomic uint64_t failures;  /* runs that failed in the TEE */
	_Atomic uint64_t refused;   /* the queue was full */
	_Atomic uint64_t abandoned; /* nobody waited when their turn came */
	_Atomic uint32_t sequences;
	_Atomic uint64_t last_run; /* nanoseconds; 0: none yet */
	struct histogram run;
};

/*
 * Open the model. 0, or -1 after a line that says why it never will open. One
 * that cannot be opened now is opened later.
 */
int model_open(struct model *model, const struct options *settings,
	       const struct model_options *options);
int model_start(struct model *model);
/*
 * Let the workers end, and close the sessions. -1 if one does not end: it is
 * in a call that never returns.
 */
int model_stop(struct model *model);
void model_free(struct model *model);

bool model_ready(struct model *model);
uint64_t model_most_body(const struct model *model);

/*
 * Queue a job. `suspend` is called before a worker can see it. Returns false if
 * the queue is full. With `lent`, the caller may run the job itself: it gets
 * the worker for worker_run, if one is idle and the last run was a short one,
 * and the job is not queued.
 */
bool model_submit(struct model *model, struct job *job,
		  void (*suspend)(struct exchange *exchange),
		  struct worker **lent);
/* Run a job with a worker that was lent for it, and give that one back. */
void worker_run(struct worker *worker, struct job *job);
/* Answer the jobs whose time is over. */
void model_expire(struct model *model);
/* Answer all jobs: the server stops. */
void model_abandon(struct model *model);

/* seats.c */

/* Whether opening may succeed later, without anybody changing the files. */
bool may_pass(uint32_t status);
/* Whether a session is of no use after its run failed so. */
bool is_fatal(uint32_t status);
/* Open the session of a seat. What fails is tried again after a pause. */
uint32_t fill(struct worker *worker, struct seat *seat);
/* The same as a stage; an attempt fails at once. */
struct tzml_evidence;
uint32_t fill_stage(struct worker *worker, struct seat *seat,
		    const uint8_t *nonce, struct tzml_evidence *evidence);
void empty(struct model *model, struct seat *seat);
/* The session is of no use: is there another TA, or another OP-TEE? */
void lose(struct worker *worker, struct seat *seat);
void set_broken(struct worker *worker, bool broken);
/* The seat that runs the request, or NULL and an answer. */
struct seat *choose_seat(struct worker *worker, const struct job *job,
			 const struct request *request, struct answer *answer);
/* What a sequence left in the session is gone after this. */
void end_sequence(struct worker *worker, struct seat *seat);
/* End the sequences that were idle too long; close sessions that none has. */
void expire_sequences(struct worker *worker);
/* Of a run that failed. */
void answer_status(struct answer *answer, uint32_t status);

/* stage.c */

/* What is asked of a stage of a pipeline. */
void serve_stage(struct worker *worker, const struct job *job,
		 struct answer *answer);
/* Bytes of the largest body of a request to a stage. */
uint64_t stage_most_body(const struct model *model);

/* http.c */

struct MHD_Daemon;

#define LOOP_THREADS 2

/* The threads that move bytes, one of which leads: loop.c */
struct loop {
	pthread_t threads[LOOP_THREADS];
	int sockets; /* libmicrohttpd's epoll(7) */
	int events;  /* eventfd(2) that wakes the leader */
	_Atomic uint32_t started;
	atomic_bool stands_by;
	atomic_bool ends;
	/* of the thread that leads: what it runs next */
	struct worker *worker;
	struct job *job;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	uint64_t runs;
	bool away;    /* the leader runs a job */
	bool watches; /* who stands by looks for that every tick */
};

struct server {
	const struct options *options;
	struct model *models;
	struct MHD_Daemon *daemon;
	struct loop loop;
	atomic_bool stopping;
	_Atomic uint64_t body_bytes; /* of requests that are here */
	_Atomic uint32_t open_exchanges;
	_Atomic uint32_t connections;
	struct histogram requests;
};

/* Listen; 0, or -1 after a line that says why not. */
int server_start(struct server *server);
/* Close what waits too long. */
void server_expire(struct server *server);
/* Take no more requests, answer those that are here, and stop. */
void server_stop(struct server *server);

/* The rest of an exchange is done in the server's thread. Takes the answer. */
void exchange_finish(struct exchange *exchange, struct answer *answer);
/* Whether the client has closed its end. */
bool exchange_is_abandoned(const struct exchange *exchange);

void answer_error(struct answer *answer, unsigned int status,
		  const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* tls.c */

struct tls {
	char *certificate;
	char *key;
	char *client_ca;
};

/* Read the files; 0, or -1 after a line that says which is wrong. */
int tls_read(struct tls *tls, const struct options *options);
void tls_free(struct tls *tls);
/* Refuse clients without a certificate that the CA signed; of a connection's TLS session. */
void tls_require_client(void *session);
void tls_read_client(void *session, uint8_t client[CLIENT_SIZE]);

#endif /* SERVE_H */

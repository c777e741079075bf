/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the HTTP server have in common. */
#ifndef HTTP_H
#define HTTP_H

#include <microhttpd.h>

#include "serve.h"

/* A body that is too large is read, up to this size, so that its sender sees the answer. */
#define MOST_DISCARDED (64 << 20)

#define JSON	"application/json"
#define BINARY	"application/octet-stream"
#define METRICS "text/plain; version=0.0.4; charset=utf-8"

/* A connection. One that waits for its client has the time since when. */
struct peer {
	LIST_ENTRY(peer) entry;
	struct server *server;
	int socket;
	_Atomic uint64_t since; /* now_ms(), or 0: it waits for a model */
	bool closing;
	bool has_client;
	uint8_t client[CLIENT_SIZE];
};

/* A request and its answer. */
struct exchange {
	struct server *server;
	struct MHD_Connection *connection;
	struct peer *peer;
	struct model *model; /* NULL: the answer is there already */
	enum job_kind kind;
	char *body;
	size_t size;
	size_t room;	  /* of the body, with its padding */
	size_t most;	  /* bytes of the body that are taken */
	size_t json_size; /* 0: all of it */
	size_t discarded;
	bool submitted;
	/* once it was submitted, with the model's lock */
	struct job *job; /* until it is answered */
	bool suspended;
	bool answered;
	struct answer answer;
	uint64_t begin; /* nanoseconds */
};

/* http.c */

/* Answer with an error. */
void refuse(struct exchange *exchange, unsigned int status,
	    const char *message);
/* Make room for `size` bytes of the body; false after a refusal. */
bool grow(struct exchange *exchange, size_t size);

/* loop.c */

/* Start the threads that serve the daemon's connections; -1 without them. */
int loop_start(struct server *server);
/* End them. -1 if one does not: it is in a run that never returns. */
int loop_stop(struct server *server);
/* Let the leader look at what is not the sockets' doing. */
void loop_wake(struct loop *loop);
/* Whether the leader may run a job itself: the other thread stands by. */
bool loop_may_run(const struct loop *loop);

/* routes.c */

/* Answer a request, or see from its header whether to take its body. */
void route(struct exchange *exchange, const char *path, const char *method);

/* peers.c */

/* The connection's client has to do something from now on, or we have. */
void wait_for(struct peer *peer, bool client);
void notify_connection(void *opaque, struct MHD_Connection *connection,
		       void **context,
		       enum MHD_ConnectionNotificationCode code);
/* NULL without memory. */
struct peer *peer_of(struct MHD_Connection *connection);

#endif /* HTTP_H */

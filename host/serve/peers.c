// SPDX-License-Identifier: Apache-2.0
/*
 * Connections. One whose client is slow, or silent, is closed: after a time, or
 * at once when others want its place.
 */
#include <stdlib.h>

#include "http.h"

/* Connections that are kept free for new clients: one that waits is closed. */
#define SPARE_CONNECTIONS 8

static LIST_HEAD(, peer) peers = LIST_HEAD_INITIALIZER(peers);
static pthread_mutex_t peers_lock = PTHREAD_MUTEX_INITIALIZER;

void wait_for(struct peer *peer, bool client)
{
	peer->since = client ? now_ms() : 0;
}

/* Close a connection: libmicrohttpd sees the end of its stream. */
static void evict(struct peer *peer)
{
	peer->closing = true;
	shutdown(peer->socket, SHUT_RDWR);
	count_connection(true);
}

/*
 * Close the connection that has waited longest for its client, if there are
 * few places left. The list begins with the newest.
 */
static void make_room(const struct server *server)
{
	struct peer *oldest = NULL;
	struct peer *peer = NULL;
	uint32_t count = SPARE_CONNECTIONS;

	LIST_FOREACH(peer, &peers, entry)
	{
		count += !peer->closing;
		if (!peer->closing && peer->since &&
		    (!oldest || peer->since <= oldest->since))
			oldest = peer;
	}
	if (oldest && count > server->options->connections)
		evict(oldest);
}

void server_expire(struct server *server)
{
	uint64_t most = server->options->timeout * UINT64_C(1000);
	struct peer *peer = NULL;

	pthread_mutex_lock(&peers_lock);
	LIST_FOREACH(peer, &peers, entry)
	{
		uint64_t since = peer->since; /* which may be 0 at any time */

		if (!peer->closing && since && now_ms() - since > most)
			evict(peer);
	}
	pthread_mutex_unlock(&peers_lock);
}

static void add_peer(struct server *server, struct MHD_Connection *connection,
		     void **context)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct peer *peer = calloc(1, sizeof(*peer));

	*context = peer;
	if (!peer) {
		if (info)
			shutdown(info->connect_fd, SHUT_RDWR);
		return;
	}
	peer->server = server;
	peer->socket = info->connect_fd;
	peer->since = now_ms();
	if (server->options->client_ca) {
		info = MHD_get_connection_info(
			connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
		tls_require_client(info->tls_session);
	}
	count_connection(false);
	pthread_mutex_lock(&peers_lock);
	LIST_INSERT_HEAD(&peers, peer, entry);
	server->connections++;
	make_room(server);
	pthread_mutex_unlock(&peers_lock);
}

void notify_connection(void *opaque, struct MHD_Connection *connection,
		       void **context, enum MHD_ConnectionNotificationCode code)
{
	struct server *server = opaque;
	struct peer *peer = *context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		add_peer(server, connection, context);
		return;
	}
	if (!peer)
		return;
	pthread_mutex_lock(&peers_lock);
	LIST_REMOVE(peer, entry);
	/* with all places taken, libmicrohttpd looks for new clients again only
	 * the next time that it is run, for which there may be no other reason
	 */
	if (server->connections-- + SPARE_CONNECTIONS >=
	    server->options->connections)
		loop_wake(&server->loop);
	pthread_mutex_unlock(&peers_lock);
	free(peer);
	*context = NULL;
}

struct peer *peer_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct peer *peer = info ? info->socket_context : NULL;

	if (peer && !peer->has_client && peer->server->options->client_ca) {
		info = MHD_get_connection_info(
			connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
		tls_read_client(info->tls_session, peer->client);
		peer->has_client = true;
	}
	return peer;
}

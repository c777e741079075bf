/* SPDX-License-Identifier: Apache-2.0 */
/* A session with the TA, over libteec. ta/include/tzml_ta.h is the protocol. */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <pthread.h>
#include <stdbool.h>
#include <tee_client_api.h>
#include <tzml_ta.h>

#include "session.h"

/* A pool of OP-TEE's memory; all zero when OP-TEE lacks CFG_WITH_STATS. */
struct pool {
	uint64_t size;
	uint64_t used;
	uint64_t peak;
	uint32_t failures; /* allocations that failed so far */
};

/* What OP-TEE's statistics pseudo TA says of it: pta_stats.h of libutee. */
struct pta_stats_alloc {
	char description[32];
	uint64_t free2_sum;
	uint32_t allocated;
	uint32_t max_allocated;
	uint32_t size;
	uint32_t num_alloc_fail;
	uint32_t biggest_alloc_fail;
	uint32_t biggest_alloc_fail_used;
};

enum pool_kind {
	POOL_HEAP = 1, /* the core's own: sessions, page tables, messages */
	POOL_TAS = 3,  /* pages of TAs */
};

/* Of the TA alone, in bytes: with its heap, its stack and its loader. */
#define TA_MEMORY (288 * 1024)

/*
 * A call of libteec on a thread of its own. Linux lets nothing but the end of
 * the process end a call that waits for tee-supplicant, so it is left behind.
 */
struct guarded_call {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	void (*function)(void *context);
	void *context;
	pid_t thread;
	bool done;
	bool abandoned;
	void (*dispose)(void *context); /* when it ends after all */
};

struct connection {
	TEEC_Context context;
	TEEC_Session session;
	bool has_context;
	bool has_session;
	TEEC_SharedMemory piece; /* of the bundle */
	TEEC_SharedMemory inputs;
	TEEC_SharedMemory outputs;
	/* of several samples; shared when needed */
	TEEC_SharedMemory samples_in;
	TEEC_SharedMemory samples_out;
	TEEC_SharedMemory segment; /* of a checkpoint; shared when needed */
	/* of a stage: the record that it takes, and the one that it gives */
	TEEC_SharedMemory record;
	TEEC_SharedMemory given;
	struct pool heap; /* before this session */
	struct pool tas;
	uint64_t features;	/* TZML_TA_FEATURE_* */
	const char *about;	/* the bundle's name, for messages */
	uint64_t secure_memory; /* that it takes at most, with the TA */

	/*
	 * What the guarded call takes and gives lies here: a call that was left
	 * behind still uses it.
	 */
	struct guarded_call guard;
	uint32_t command;
	TEEC_Operation operation;
	TEEC_Result result;
	uint32_t origin;
	union {
		struct tzml_ta_info ta;
		struct pta_stats_alloc pool;
		struct tzml_ta_device device;
	} answer;
};

/* The device's public key in the answer; zeros if it has none. */
enum tzml_status connection_read_device(struct connection *connection);

/*
 * Connect to the TA. `*connection` is to be closed also after an error;
 * `about` stays as long as it.
 */
enum tzml_status connection_open(struct connection **connection,
				 const char *about, uint64_t secure_memory);
/* NULL is allowed. */
void connection_close(struct connection *connection);

/*
 * Call a command that may wait for tee-supplicant. TZML_ERROR_NO_SUPPLICANT
 * if it waits in vain: after that, the connection can only be closed. The call
 * itself goes on then: memory that it takes must be the connection's.
 */
enum tzml_status connection_invoke(struct connection *connection,
				   uint32_t command, TEEC_Operation *operation);
/* The same without a guard, for what never waits: runs. */
enum tzml_status connection_invoke_directly(struct connection *connection,
					    uint32_t command,
					    TEEC_Operation *operation);

/* Memory that is shared already is given back before. */
enum tzml_status connection_share(struct connection *connection,
				  TEEC_SharedMemory *memory, size_t size,
				  uint32_t direction);

/*
 * A command with an input and an output, for which `piece` and `outputs` are
 * shared anew: the answer lies in `outputs`. In device.c.
 */
enum tzml_status connection_ask(struct connection *connection, uint32_t command,
				const void *request, size_t request_size,
				size_t answer_size);

/* TZML_ERROR_NO_SUPPLICANT as above; no statistics are no error. */
enum tzml_status connection_read_pool(struct connection *connection,
				      enum pool_kind kind, bool reset_peak,
				      struct pool *pool);

/* transfer.c: struct world's, for the model of the connection */

enum tzml_status connection_save(struct connection *connection, uint32_t flags,
				 const uint8_t note[TZML_NOTE_SIZE],
				 uint8_t *checkpoint, size_t size);
enum tzml_status connection_confirm(struct connection *connection);
enum tzml_status connection_restore(struct connection *connection,
				    const uint8_t *checkpoint, size_t size);

/* supplicant.c */

void guard_init(struct guarded_call *call);
void guard_destroy(struct guarded_call *call);

/*
 * Make a call and wait for its end. TZML_ERROR_NO_SUPPLICANT, with a message,
 * if it waits for tee-supplicant in vain: the call then goes on, and
 * guard_abandon must be called.
 */
enum tzml_status guard_call(struct guarded_call *call,
			    void (*function)(void *context), void *context);

/* Whether a call was left behind, at whose end `dispose` will be called. */
bool guard_abandon(struct guarded_call *call, void (*dispose)(void *context));

#endif /* CONNECTION_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session as a stage of a pipeline: inputs come and outputs go in sealed
 * records, which only attested sessions and the client open. docs/bundle.md,
 * "Release (.tzr)" and "Record (.tzx)"; a single device is a pipeline of one
 * stage.
 *
 *	tzml_stage_begin(&stage, platform, context, &key, nonce);
 *	... attest the key; open and load the model ...
 *	tzml_stage_join(&stage, &model, release, size);
 *	tzml_stage_start(&stage, &model, record, size);
 *	do {
 *		tzml_stage_continue(&stage, &model, answer, room);
 *		LOAD	as for tzml_model_continue
 *	} while (tzml_model_running(&model));
 *	tzml_stage_close(&stage);
 *
 * What is handed over may lie in memory that somebody else writes to.
 */
#ifndef TZML_STAGE_H
#define TZML_STAGE_H

#include <tzml/model.h>

#define TZML_KNOWN_CLIENTS 8

/* A client's secret: opened once, for it takes ECDH. */
struct tzml_client {
	uint8_t enc[TZML_POINT_SIZE];
	uint8_t wrapped[TZML_WRAPPED_SIZE];
	uint8_t secret[TZML_SECRET_SIZE];
};

struct tzml_stage {
	const struct tzml_platform *platform;
	void *context;
	struct tzml_key_pair key;
	uint8_t id[TZML_DIGEST_SIZE]; /* of the session */
	bool begun;		      /* what is above is there */
	uint64_t next_epoch;	      /* the lowest that it takes */
	uint64_t sent;		      /* records, in all epochs */

	bool released; /* what follows is there */
	struct tzml_release release;
	uint8_t secret_in[TZML_SECRET_SIZE];
	uint8_t secret_out[TZML_SECRET_SIZE];
	struct tzml_block payload; /* room for inputs, or for outputs */
	struct tzml_client clients[TZML_KNOWN_CLIENTS];
	uint32_t client_count; /* that were opened */

	/* of the run that is under way */
	uint8_t request[TZML_REQUEST_SIZE];
	uint8_t answer_secret[TZML_SECRET_SIZE];
};

/*
 * Begin with a key that was made for this session, and the 32 bytes that the
 * verifier chose. `stage` is closed or all zero.
 */
enum tzml_status tzml_stage_begin(struct tzml_stage *stage,
				  const struct tzml_platform *platform,
				  void *context,
				  const struct tzml_key_pair *key,
				  const uint8_t nonce[TZML_SECRET_SIZE]);

/*
 * Take a release for the model, which is loaded. An error other than
 * TZML_ERROR_STATE leaves the stage without keys.
 */
enum tzml_status tzml_stage_join(struct tzml_stage *stage,
				 const struct tzml_model *model,
				 const void *release, size_t size);

/* Give up the keys of the release, as when the model is closed. */
void tzml_stage_leave(struct tzml_stage *stage);

/* Bytes of the records that the stage takes, and gives. It is released. */
size_t tzml_stage_record_size(const struct tzml_stage *stage,
			      const struct tzml_model *model, bool given);

/* Open a record and begin to run the stage's program on it. */
enum tzml_status tzml_stage_start(struct tzml_stage *stage,
				  struct tzml_model *model, const void *record,
				  size_t size);

/*
 * Go on until a section is wanted, or to the end, where the record with the
 * outputs is written, exactly as long as tzml_stage_record_size says.
 */
enum tzml_status tzml_stage_continue(struct tzml_stage *stage,
				     struct tzml_model *model, void *record,
				     size_t size);

/* Wipe everything; a closed stage may be closed again. */
void tzml_stage_close(struct tzml_stage *stage);

#endif /* TZML_STAGE_H */

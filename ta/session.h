/* SPDX-License-Identifier: Apache-2.0 */
/* What a session has, and its commands outside of entry.c. */
#ifndef SESSION_H
#define SESSION_H

#include <tzml/model.h>
#include <tzml/stage.h>

#include "platform.h"

struct session {
	struct platform_context platform;
	struct tzml_model model;
	struct tzml_stage stage;
};

/*
 * entry.c: a command that takes a nonce, and gives the evidence that `make`
 * makes for it.
 */
TEE_Result
give_evidence(struct session *session, uint32_t types,
	      TEE_Param params[TEE_NUM_PARAMS],
	      enum tzml_status (*make)(struct session *session,
				       const uint8_t nonce[TZML_CHALLENGE_SIZE],
				       struct tzml_ta_evidence *evidence));

/* pipeline.c: STAGE, JOIN, RUN_RECORD, CONTINUE_RECORD */
TEE_Result begin_stage(struct session *session, uint32_t types,
		       TEE_Param params[TEE_NUM_PARAMS]);
TEE_Result join_pipeline(struct session *session, uint32_t types,
			 TEE_Param params[TEE_NUM_PARAMS]);
TEE_Result run_record(struct session *session, uint32_t types,
		      TEE_Param params[TEE_NUM_PARAMS]);
TEE_Result continue_record(struct session *session, uint32_t types,
			   TEE_Param params[TEE_NUM_PARAMS]);

/* samples.c: RUN_BATCH, CONTINUE_BATCH */
TEE_Result run_batch(struct session *session, uint32_t types,
		     TEE_Param params[TEE_NUM_PARAMS]);
TEE_Result continue_batch(struct session *session, uint32_t types,
			  TEE_Param params[TEE_NUM_PARAMS]);

#endif /* SESSION_H */

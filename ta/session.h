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

/* What is loaded would be measured with the TA. */
static inline bool can_attest(const struct session *session)
{
	return session->model.state == TZML_MODEL_CLOSED &&
	       !session->platform.library_count;
}

/* pipeline.c: STAGE, JOIN, RUN_RECORD, CONTINUE_RECORD */
TEE_Result begin_stage(struct session *session, uint32_t types,
		       TEE_Param params[TEE_NUM_PARAMS]);
TEE_Result join_pipeline(struct session *session, uint32_t types,
			 TEE_Param params[TEE_NUM_PARAMS]);
TEE_Result run_record(struct session *session, uint32_t types,
		      TEE_Param params[TEE_NUM_PARAMS]);
TEE_Result continue_record(struct session *session, uint32_t types,
			   TEE_Param params[TEE_NUM_PARAMS]);

#endif /* SESSION_H */

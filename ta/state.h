/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that save and restore a model's state (include/tzml_ta.h). */
#ifndef STATE_H
#define STATE_H

#include <tee_internal_api.h>

#include "session.h"

TEE_Result save(struct session *session, uint32_t types,
		TEE_Param params[TEE_NUM_PARAMS]);
TEE_Result save_segment(struct session *session, uint32_t types,
			TEE_Param params[TEE_NUM_PARAMS]);
TEE_Result confirm(struct session *session, uint32_t types,
		   TEE_Param params[TEE_NUM_PARAMS]);
TEE_Result restore(struct session *session, uint32_t types,
		   TEE_Param params[TEE_NUM_PARAMS]);
TEE_Result restore_segment(struct session *session, uint32_t types,
			   TEE_Param params[TEE_NUM_PARAMS]);

#endif /* STATE_H */

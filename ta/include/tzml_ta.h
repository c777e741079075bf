/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol between the normal world and the tzml Trusted Application.
 *
 * One session is one model: each session is an instance of its own, and
 * closing it wipes and gives back everything. Results are TEE_SUCCESS or the
 * codes of tzml/status.h. Parameters not named are TEE_PARAM_TYPE_NONE; types
 * that differ are TZML_ERROR_REQUEST.
 */
#ifndef TZML_TA_H
#define TZML_TA_H

#include <stdint.h>

#define TZML_TA_UUID  \
	{ 0xbcfd5ae6, \
	  0xea1e,     \
	  0x4018,     \
	  { 0xa5, 0xd9, 0x76, 0x73, 0xb6, 0xe2, 0xe5, 0x1f } }

/*
 * Take a bundle's header and section table. Closes the session's earlier
 * model, if there is one.
 *
 * [in]  memref[0]   the header, exactly as long as it says
 * [in]  value[1].a  TZML_OPEN_* flags
 * [out] value[2].a  section to load next, or TZML_TA_READY
 */
#define TZML_CMD_OPEN 0

/* Do not trust that the model's kernel library is still installed. */
#define TZML_OPEN_REINSTALL 1

#define TZML_TA_READY UINT32_MAX

/*
 * Load the next bytes of the section asked for. They are copied before they
 * are looked at; an error closes the model.
 *
 * [in]  value[0].a  section
 * [in]  value[0].b  offset of the bytes in the section
 * [in]  memref[1]   the bytes
 * [out] value[2].a  section to load next, or TZML_TA_READY
 */
#define TZML_CMD_LOAD 1

/*
 * Begin an inference and go on until it is done, or until a chunk of weights
 * is missing: then load the section that is asked for, and CONTINUE.
 *
 * [in]  memref[0]   the inputs, back to back in the plan's order
 * [out] memref[1]   room for exactly the outputs, likewise; written when done
 * [out] value[2].a  section to load next, or TZML_TA_READY when done
 */
#define TZML_CMD_RUN 2

/*
 * Go on with the inference that RUN began.
 *
 * [out] memref[0]   as RUN's memref[1]
 * [out] value[1].a  as RUN's value[2].a
 */
#define TZML_CMD_CONTINUE 3

/*
 * What the model takes and gives.
 *
 * [out] memref[0]  array of struct tzml_tensor: inputs, then outputs; when
 *                  it is too short, TEE_ERROR_SHORT_BUFFER and the size
 * [out] value[1].a number of inputs
 * [out] value[1].b number of outputs
 */
#define TZML_CMD_DESCRIBE 4

/*
 * Secure memory of this session.
 *
 * [out] memref[0]  struct tzml_ta_memory
 */
#define TZML_CMD_MEMORY 5

struct tzml_ta_memory {
	uint64_t mapped;      /* bytes the TA mapped for the model, now */
	uint64_t mapped_peak; /* the most of it since the session began */
	uint64_t arena;
	uint64_t weights;
	uint64_t plan;
};

#endif /* TZML_TA_H */

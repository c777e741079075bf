// SPDX-License-Identifier: Apache-2.0
/*
 * A hardware unique key for boards whose real one OP-TEE's port cannot read:
 * the build's, equal on all devices of a build, and in the firmware. It is for
 * tests.
 */
#include <kernel/tee_common_otp.h>
#include <string.h>

/* static const uint8_t build_huk[], which the recipe writes */
#include "huk_build.h"

TEE_Result tee_otp_get_hw_unique_key(struct tee_hw_unique_key *hwkey)
{
	_Static_assert(sizeof(build_huk) == sizeof(hwkey->data),
		       "the key has a size of its own");
	memcpy(hwkey->data, build_huk, sizeof(hwkey->data));
	return TEE_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What gcm_a64.S needs of OP-TEE's header of this name, for a program of Linux. */
#define BTI(...)

	.macro		FUNC, name, colon
	.section	.text.\name, "ax", %progbits
	.balign		4
	.global		\name
	.type		\name, %function
	\name \colon
	.endm

	.macro		END_FUNC, name
	.size		\name, . - \name
	.endm

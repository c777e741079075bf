/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Noise of differential privacy: integers of the discrete Gaussian
 * distribution, in which x has a probability in proportion to
 * exp(-x^2 / (2 deviation^2)), by rational arithmetic on random bits. Sums of
 * floating-point noise tell what they were added to (I. Mironov, "On
 * Significance of the Least Significant Bits for Differential Privacy", 2012).
 */
#ifndef NOISE_H
#define NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tzml/format.h>
#include <tzml/status.h>

#define NOISE_BUFFER 256 /* random bytes that are asked for at once */

struct tzml_noise {
	enum tzml_status (*random)(void *context, void *data, size_t size);
	void *context;
	uint32_t deviation;
	uint32_t scale;		 /* its logarithm, rounded up */
	enum tzml_status status; /* of the first random bytes that failed */
	uint64_t word;		 /* random bits, `bits` of them */
	uint32_t bits;
	uint32_t used; /* bytes of the buffer */
	uint8_t buffer[NOISE_BUFFER];
};

/*
 * Begin to draw numbers of that deviation, 1 to TZML_MAX_DEVIATION. `random`
 * gives bytes that nobody can guess. Wipe the structure afterwards.
 */
void tzml_noise_begin(struct tzml_noise *noise, uint32_t deviation,
		      enum tzml_status (*random)(void *context, void *data,
						 size_t size),
		      void *context);

/* Draw a number: it is worth nothing unless `status` is TZML_SUCCESS. */
int64_t tzml_noise_draw(struct tzml_noise *noise);

/*
 * Add a number to each of `count` sums. One that would leave int32_t stays at
 * its end, which tells no more of the sum before.
 */
enum tzml_status tzml_noise_add(struct tzml_noise *noise, int32_t *sums,
				size_t count);

#endif /* NOISE_H */

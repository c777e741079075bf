/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TZML_BENCH_CPU_SECONDS_H
#define TZML_BENCH_CPU_SECONDS_H

#include <time.h>

/* CPU time of this process. */
static inline double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec + now.tv_nsec * 1e-9;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data caches of a Raspberry Pi 3's Cortex-A53, for the plugin: 32 KiB of
 * four ways, and 512 KiB of sixteen. Lines of 64 bytes, of which the one that
 * was used longest ago is replaced; a store loads its line like a load. There
 * is no prefetch, and lines that are written back are not counted.
 */
#ifndef TZML_BENCH_CACHES_H
#define TZML_BENCH_CACHES_H

#include <stdint.h>

#define CACHE_LINE 64
#define L1_WAYS	   4
#define L1_SETS	   (32 * 1024 / CACHE_LINE / L1_WAYS)
#define L2_WAYS	   16
#define L2_SETS	   (512 * 1024 / CACHE_LINE / L2_WAYS)

/* In each set, lines in the order of their last use; a line is its number + 1,
 * and 0 is none.
 */
static uint64_t l1[L1_SETS][L1_WAYS];
static uint64_t l2[L2_SETS][L2_WAYS];
static uint64_t l1_misses;
static uint64_t l2_misses;

/* Whether the line is there; it is from now on. */
static inline int look_up(uint64_t *set, unsigned int ways, uint64_t line)
{
	unsigned int at = 0;

	while (at < ways - 1 && set[at] != line)
		at++;
	int found = set[at] == line;

	for (; at; at--)
		set[at] = set[at - 1];
	set[0] = line;
	return found;
}

static inline void use_line(uint64_t address)
{
	uint64_t line = address / CACHE_LINE + 1;

	if (look_up(l1[line % L1_SETS], L1_WAYS, line))
		return;
	l1_misses++;
	if (!look_up(l2[line % L2_SETS], L2_WAYS, line))
		l2_misses++;
}

/* Empty the caches, and count from 0. */
static inline void empty_caches(void)
{
	for (unsigned int i = 0; i < L1_SETS * L1_WAYS; i++)
		l1[i / L1_WAYS][i % L1_WAYS] = 0;
	for (unsigned int i = 0; i < L2_SETS * L2_WAYS; i++)
		l2[i / L2_WAYS][i % L2_WAYS] = 0;
	l1_misses = 0;
	l2_misses = 0;
}

#endif

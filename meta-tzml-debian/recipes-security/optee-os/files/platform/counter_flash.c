// SPDX-License-Identifier: Apache-2.0
/*
 * The counter that keeps the normal world from putting OP-TEE's storage back.
 *
 * It is a list of records in one of two sectors, each higher than the one
 * before. When a sector is full, the other one is erased and goes on, so that
 * a power cut at any moment leaves the highest. The callers take turns.
 */
#include <initcall.h>
#include <kernel/nv_counter.h>
#include <kernel/panic.h>

#include "flash.h"

/* A word and its complement: what a power cut leaves of it does not count. */
#define RECORD_WORDS 2
#define RECORDS	     (FLASH_SECTOR_SIZE / sizeof(uint32_t) / RECORD_WORDS)

static uint32_t highest;
static unsigned int current = FLASH_COUNTER;
static size_t next; /* free record of the current sector */

/* The highest record of a sector, and how many are taken. */
static uint32_t read_sector(unsigned int sector, size_t *taken)
{
	const volatile uint32_t *words = flash_words(sector);
	uint32_t found = 0;

	*taken = 0;
	for (size_t i = 0; i < RECORDS; i++) {
		uint32_t value = words[RECORD_WORDS * i];
		uint32_t complement = words[RECORD_WORDS * i + 1];

		if (value != FLASH_ERASED || complement != FLASH_ERASED)
			*taken = i + 1;
		if (value == ~complement && value > found)
			found = value;
	}
	return found;
}

static TEE_Result read_counter(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		size_t taken = 0;
		uint32_t found = read_sector(FLASH_COUNTER + i, &taken);

		if (found > highest || !i) {
			highest = found;
			current = FLASH_COUNTER + i;
			next = taken;
		}
	}
	return TEE_SUCCESS;
}
early_init(read_counter);

TEE_Result nv_counter_get_ree_fs(uint32_t *value)
{
	*value = highest;
	return TEE_SUCCESS;
}

TEE_Result nv_counter_incr_ree_fs_to(uint32_t value)
{
	if (value <= highest)
		return TEE_SUCCESS;
	if (next == RECORDS) {
		current = 2 * FLASH_COUNTER + 1 - current;
		flash_erase(current);
		next = 0;
	}
	flash_write(current, RECORD_WORDS * next, value);
	flash_write(current, RECORD_WORDS * next + 1, ~value);
	next++;
	highest = value;
	return TEE_SUCCESS;
}

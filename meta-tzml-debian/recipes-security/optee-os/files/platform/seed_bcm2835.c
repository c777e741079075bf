// SPDX-License-Identifier: Apache-2.0
/*
 * The seed from the generator of the Raspberry Pi 3's BCM2837, which is that
 * of the BCM2835. Registers as in Linux's drivers/char/hw_random/bcm2835-rng.c.
 * OP-TEE reads it before there is a normal world, which shares it afterwards.
 */
#include <io.h>
#include <kernel/delay.h>
#include <kernel/panic.h>
#include <mm/core_memprot.h>
#include <mm/core_mmu.h>

#include "seed.h"

#define RNG_BASE   0x3f104000
#define RNG_SIZE   0x10
#define RNG_CTRL   0x0
#define RNG_STATUS 0x4
#define RNG_DATA   0x8

#define RNG_ENABLE   0x1
#define RNG_WARMUP   0x40000 /* numbers thrown away at first, which are worse */
#define COUNT_SHIFT  24	     /* of the words that are there */
#define MICROSECONDS 5000000 /* that it may take */

register_phys_mem_pgdir(MEM_AREA_IO_NSEC, RNG_BASE, RNG_SIZE);

const char seed_source[] = "bcm2835-generator";

void seed_read(uint32_t seed[SEED_WORDS])
{
	vaddr_t base = core_mmu_get_va(RNG_BASE, MEM_AREA_IO_NSEC, RNG_SIZE);
	uint64_t end = timeout_init_us(MICROSECONDS);

	if (!base)
		panic("the generator of random numbers is not mapped");
	io_write32(base + RNG_STATUS, RNG_WARMUP);
	io_write32(base + RNG_CTRL, RNG_ENABLE);
	for (size_t i = 0; i < SEED_WORDS; i++) {
		while (!(io_read32(base + RNG_STATUS) >> COUNT_SHIFT))
			if (timeout_elapsed(end))
				panic("the generator of random numbers is silent");
		seed[i] = io_read32(base + RNG_DATA);
	}
}

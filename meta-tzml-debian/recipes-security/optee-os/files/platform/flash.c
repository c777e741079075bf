// SPDX-License-Identifier: Apache-2.0
/*
 * The machine has two chips of 16 bits side by side, with Intel's command set
 * (JEDEC JEP137, Common Flash Interface, command set 1).
 */
#include <io.h>
#include <kernel/delay.h>
#include <kernel/panic.h>
#include <mm/core_memprot.h>
#include <mm/core_mmu.h>

#include "flash.h"

#define FLASH_END    0x04000000
#define SECTORS_SIZE (FLASH_SECTORS * FLASH_SECTOR_SIZE)
#define SECTORS_BASE (FLASH_END - SECTORS_SIZE)

#define BOTH(command)	((command) | (command) << 16)
#define ERASE		BOTH(0x20u)
#define ERASE_CONFIRMED BOTH(0xd0u)
#define PROGRAM		BOTH(0x40u)
#define READ_ARRAY	BOTH(0xffu)
#define READY		BOTH(0x80u)
#define MICROSECONDS	5000000 /* that a command may take */

register_phys_mem_pgdir(MEM_AREA_IO_SEC, SECTORS_BASE, SECTORS_SIZE);

static vaddr_t address_of(unsigned int sector)
{
	vaddr_t base =
		core_mmu_get_va(SECTORS_BASE, MEM_AREA_IO_SEC, SECTORS_SIZE);

	if (!base || sector >= FLASH_SECTORS)
		panic("no such sector of the secure flash");
	return base + sector * FLASH_SECTOR_SIZE;
}

static void command(vaddr_t address, uint32_t first, uint32_t second)
{
	uint64_t end = timeout_init_us(MICROSECONDS);

	io_write32(address, first);
	io_write32(address, second);
	while ((io_read32(address) & READY) != READY)
		if (timeout_elapsed(end))
			panic("the secure flash does not get ready");
	io_write32(address, READ_ARRAY);
}

const volatile uint32_t *flash_words(unsigned int sector)
{
	return (const volatile uint32_t *)address_of(sector);
}

void flash_write(unsigned int sector, size_t word, uint32_t value)
{
	vaddr_t address = address_of(sector) + word * sizeof(value);

	if (word >= FLASH_SECTOR_SIZE / sizeof(value))
		panic("no such word of the secure flash");
	command(address, PROGRAM, value);
	if (io_read32(address) != value)
		panic("the secure flash does not keep what is written");
}

void flash_erase(unsigned int sector)
{
	vaddr_t address = address_of(sector);

	command(address, ERASE, ERASE_CONFIRMED);
	if (io_read32(address) != FLASH_ERASED)
		panic("the secure flash is not erased");
}

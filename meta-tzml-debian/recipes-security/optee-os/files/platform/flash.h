/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TZML_FLASH_H
#define TZML_FLASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * The last sectors of the flash of QEMU's virt machine that only the secure
 * world sees. Each emulated device has a file of its own for it, which
 * lab/tzml_lab/emulation/secure_flash.py writes.
 *
 * While a word is written nothing can be read: whoever reads after the boot
 * must hold off whoever writes.
 */
#define FLASH_SECTOR_SIZE 0x40000
#define FLASH_ERASED	  0xffffffff

enum flash_sector {
	FLASH_DEVICE,  /* what the device was given when it was made */
	FLASH_COUNTER, /* two of them */
	FLASH_SECTORS = FLASH_COUNTER + 2,
};

/* The words of a sector. */
const volatile uint32_t *flash_words(unsigned int sector);

/* Write a word that is erased. Panics if the flash does not keep it. */
void flash_write(unsigned int sector, size_t word, uint32_t value);

/* Erase a sector. Panics if the flash does not do it. */
void flash_erase(unsigned int sector);

#endif /* TZML_FLASH_H */

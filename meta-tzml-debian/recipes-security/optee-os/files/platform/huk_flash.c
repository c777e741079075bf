// SPDX-License-Identifier: Apache-2.0
/*
 * The hardware unique key of an emulated device, from its secure flash: a test
 * key, for whoever has the file of the flash has the key.
 */
#include <initcall.h>
#include <kernel/panic.h>
#include <kernel/tee_common_otp.h>
#include <string.h>

#include "flash.h"

/* "TZMLDEV1", as secure_flash.py writes it, then the key */
#define MAGIC_0 0x4c4d5a54
#define MAGIC_1 0x31564544
#define KEY_AT	2

/* Read once: later the flash may be busy with the counter. */
static struct tee_hw_unique_key key;

static TEE_Result read_key(void)
{
	const volatile uint32_t *words = flash_words(FLASH_DEVICE);
	uint32_t different = 0;
	uint32_t word = 0;

	if (words[0] != MAGIC_0 || words[1] != MAGIC_1)
		panic("the secure flash has no device in it: start QEMU with "
		      "a file for it (docs/image.md)");
	for (size_t i = 0; i < sizeof(key.data) / sizeof(word); i++) {
		word = words[KEY_AT + i];
		different |= word ^ words[KEY_AT];
		memcpy(key.data + i * sizeof(word), &word, sizeof(word));
	}
	if (!different)
		panic("the hardware unique key is a constant");
	return TEE_SUCCESS;
}
early_init(read_key);

TEE_Result tee_otp_get_hw_unique_key(struct tee_hw_unique_key *hwkey)
{
	*hwkey = key;
	return TEE_SUCCESS;
}

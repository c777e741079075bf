// SPDX-License-Identifier: Apache-2.0
/* Text that comes from a bundle and is shown to people. */
#include "check.h"

static bool lies_between(uint8_t byte, uint8_t first, uint8_t last)
{
	return byte >= first && byte <= last;
}

/*
 * Bytes of the character that begins at `text`, or 0: it is cut off, is not
 * well-formed (Unicode 16, table 3-7), or is a control character.
 */
static size_t character_size(const uint8_t *text, size_t left)
{
	uint8_t first = 0x80; /* the range of the second byte */
	uint8_t last = 0xbf;
	size_t size = 0;

	switch (text[0]) {
	case 0x20 ... 0x7e:
		return 1;
	case 0xc2:
		first = 0xa0; /* U+0080 to U+009F control terminals */
		size = 2;
		break;
	case 0xc3 ... 0xdf:
		size = 2;
		break;
	case 0xe0 ... 0xef:
		if (text[0] == 0xe0)
			first = 0xa0; /* else two bytes would do */
		if (text[0] == 0xed)
			last = 0x9f; /* else it is half a surrogate pair */
		size = 3;
		break;
	case 0xf0 ... 0xf4:
		if (text[0] == 0xf0)
			first = 0x90; /* else three bytes would do */
		if (text[0] == 0xf4)
			last = 0x8f; /* else it is above U+10FFFF */
		size = 4;
		break;
	default:
		return 0;
	}
	if (size > left || !lies_between(text[1], first, last))
		return 0;
	for (size_t i = 2; i < size; i++)
		if (!lies_between(text[i], 0x80, 0xbf))
			return 0;
	return size;
}

bool is_printable(const char *text, size_t size)
{
	const uint8_t *bytes = (const uint8_t *)text;

	while (size) {
		size_t length = character_size(bytes, size);

		if (!length)
			return false;
		bytes += length;
		size -= length;
	}
	return true;
}

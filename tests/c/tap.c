// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>

#include "tap.h"

static unsigned int count;
static unsigned int failures;

void check(bool passed, const char *what, ...)
{
	va_list arguments;

	printf("%sok %u - ", passed ? "" : "not ", ++count);
	va_start(arguments, what);
	vprintf(what, arguments);
	va_end(arguments);
	putchar('\n');
	failures += !passed;
}

int tap_end(void)
{
	printf("1..%u\n", count);
	return failures ? 1 : 0;
}

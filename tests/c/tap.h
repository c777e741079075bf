/* SPDX-License-Identifier: Apache-2.0 */
/* Results of a test program, a line each: https://testanything.org. */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>

void check(bool passed, const char *what, ...)
	__attribute__((format(printf, 2, 3)));

/* Print how many there were; the program's exit code. */
int tap_end(void);

#endif /* TAP_H */

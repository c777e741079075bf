// SPDX-License-Identifier: Apache-2.0
/*
 * count_functions NUMBERS: call each function of functions.h with each float64
 * of the file NUMBERS, converted to what it takes, those of two operands with
 * each pair, between the marks that the bench's plugin counts instructions by.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "measure.h"

#define MOST 64

#define ONE(type, of, name) type name(of x);
#define TWO(type, of, name) type name(of x, of y);
#include "functions.h"
#undef ONE
#undef TWO

static double numbers[MOST];
static size_t count;
static volatile double result;

int main(int argc, char **argv)
{
	FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;

	if (!file)
		return 2;
	count = fread(numbers, sizeof(*numbers), MOST, file);
	fclose(file);
#define ONE(type, of, name)                      \
	for (size_t i = 0; i < count; i++) {     \
		prctl(MEASURE_BEGIN);            \
		result = name((of)(numbers[i])); \
		prctl(MEASURE_END);              \
	}
#define TWO(type, of, name)                              \
	for (size_t i = 0; i < count * count; i++) {     \
		prctl(MEASURE_BEGIN);                    \
		result = name((of)(numbers[i / count]),  \
			      (of)(numbers[i % count])); \
		prctl(MEASURE_END);                      \
	}
#include "functions.h"
	return 0;
}

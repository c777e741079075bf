/* SPDX-License-Identifier: Apache-2.0 */
/* cc example.c $(pkg-config --cflags --libs tzml) && ./a.out digits.tzm <image */
#include <err.h>
#include <stdio.h>
#include <tzml.h>

int main(int argc, char **argv)
{
	float image[28 * 28], probabilities[10];
	struct tzml_session *session = NULL;

	if (argc != 2 || fread(image, sizeof(image), 1, stdin) != 1)
		errx(2, "usage: %s digits.tzm <image", argv[0]);
	if (tzml_open(argv[1], TZML_WORLD_REE, &session) ||
	    tzml_run(session, image, sizeof(image), probabilities,
		     sizeof(probabilities), NULL))
		errx(1, "%s", tzml_error());
	for (int digit = 0; digit < 10; digit++)
		printf("%d %.4f\n", digit, probabilities[digit]);
	tzml_close(session);
	return 0;
}

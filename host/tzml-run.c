// SPDX-License-Identifier: Apache-2.0
/* A small command over libtzml: raw bytes in, raw bytes out. */
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml.h>

static const char usage[] =
	"usage: tzml-run [-w tee|ree] [-n COUNT] BUNDLE INPUT OUTPUT\n"
	"\n"
	"Run the model in BUNDLE on the bytes of the file INPUT (all inputs,\n"
	"back to back) and write the bytes of its outputs to the file OUTPUT.\n"
	"\n"
	"  -w WORLD  tee: in the secure world (default); ree: in this process\n"
	"  -n COUNT  run COUNT times and print each time, in microseconds\n"
	"  -h        this text\n"
	"\n"
	"Exit code 0, or 1 after an error, or 2 for a wrong command line.\n";

static int complain(const char *message)
{
	fprintf(stderr, "tzml-run: %s\n\n%s", message, usage);
	return 2;
}

/* The whole file, which must have `size` bytes. */
static void *read_input(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(size + 1);
	size_t count = 0;

	if (!file)
		err(1, "%s", path);
	if (!data)
		errx(1, "no memory for %zu bytes", size);
	count = fread(data, 1, size + 1, file);
	if (ferror(file))
		err(1, "%s", path);
	if (count != size)
		errx(1, "%s has %s %zu bytes; the model takes %zu", path,
		     count > size ? "more than" : "only",
		     count > size ? size : count, size);
	fclose(file);
	return data;
}

static void write_output(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "wb");

	if (!file || fwrite(data, 1, size, file) != size || fclose(file))
		err(1, "%s", path);
}

static size_t total(const struct tzml_session *session, uint32_t count,
		    void (*describe)(const struct tzml_session *, uint32_t,
				     struct tzml_tensor_info *))
{
	struct tzml_tensor_info info = { 0 };
	size_t size = 0;

	for (uint32_t i = 0; i < count; i++) {
		describe(session, i, &info);
		size += info.size;
	}
	return size;
}

static void run(struct tzml_session *session, long count, const char *input,
		const char *output)
{
	size_t inputs_size =
		total(session, tzml_input_count(session), tzml_input);
	size_t outputs_size =
		total(session, tzml_output_count(session), tzml_output);
	void *inputs = read_input(input, inputs_size);
	void *outputs = calloc(1, outputs_size);
	uint64_t nanoseconds = 0;

	if (!outputs)
		errx(1, "no memory for %zu bytes", outputs_size);
	for (long i = 0; i < count; i++) {
		if (tzml_run(session, inputs, inputs_size, outputs,
			     outputs_size, &nanoseconds))
			errx(1, "%s", tzml_error());
		printf("%.1f\n", (double)nanoseconds / 1000);
	}
	write_output(output, outputs, outputs_size);
	free(outputs);
	free(inputs);
}

int main(int argc, char **argv)
{
	struct tzml_session *session = NULL;
	uint32_t world = TZML_WORLD_TEE;
	char *end = NULL;
	long count = 1;
	int option = 0;

	while ((option = getopt(argc, argv, "hn:w:")) != -1) {
		switch (option) {
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'n':
			count = strtol(optarg, &end, 10);
			if (*end || count < 1)
				return complain("-n takes a positive number");
			break;
		case 'w':
			if (!strcmp(optarg, "tee"))
				world = TZML_WORLD_TEE;
			else if (!strcmp(optarg, "ree"))
				world = TZML_WORLD_REE;
			else
				return complain("-w takes tee or ree");
			break;
		default:
			return complain("unknown option");
		}
	}
	if (argc - optind != 3)
		return complain("three files are needed");

	if (tzml_open(argv[optind], world, &session))
		errx(1, "%s", tzml_error());
	run(session, count, argv[optind + 1], argv[optind + 2]);
	tzml_close(session);
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
/* A small command over libtzml: raw bytes in, raw bytes out. */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml.h>

static const char usage[] =
	"usage: tzml-run [-w tee|ree] [-e ENTRY] [-n COUNT] BUNDLE INPUT OUTPUT\n"
	"\n"
	"Run the model in BUNDLE on the bytes of the file INPUT (all inputs,\n"
	"back to back) and write the bytes of its outputs to the file OUTPUT.\n"
	"\n"
	"  -w WORLD  tee: in the secure world (default); ree: in this process\n"
	"  -e ENTRY  the entry point to run, by its number (0, the default)\n"
	"  -n COUNT  run COUNT times and print each time, in microseconds\n"
	"  -h, --help  this text\n"
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

struct options {
	uint32_t world;
	uint32_t entry;
	long count;
};

/* Whether `text` is a number of at least `least`. */
static bool parse_number(const char *text, long least, long *number)
{
	char *end = NULL;

	errno = 0;
	*number = strtol(text, &end, 10);
	return end != text && !*end && !errno && *number >= least &&
	       *number <= INT32_MAX;
}

/* Read the options; 0, or the exit code plus one. */
static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	long number = 0;
	int option = 0;

	while ((option = getopt_long(argc, argv, "e:hn:w:", names, NULL)) !=
	       -1) {
		switch (option) {
		case 'e':
			if (!parse_number(optarg, 0, &number))
				return 1 + complain("-e takes a number");
			options->entry = (uint32_t)number;
			break;
		case 'h':
			fputs(usage, stdout);
			return 1;
		case 'n':
			if (!parse_number(optarg, 1, &options->count))
				return 1 +
				       complain("-n takes a positive number");
			break;
		case 'w':
			if (strcmp(optarg, "tee") && strcmp(optarg, "ree"))
				return 1 + complain("-w takes tee or ree");
			options->world = strcmp(optarg, "tee") ? TZML_WORLD_REE
							       : TZML_WORLD_TEE;
			break;
		default:
			return 1 + complain("unknown option");
		}
	}
	return argc - optind == 3 ? 0 : 1 + complain("three files are needed");
}

int main(int argc, char **argv)
{
	struct options options = { .world = TZML_WORLD_TEE, .count = 1 };
	struct tzml_session *session = NULL;
	int code = parse_options(argc, argv, &options);

	if (code)
		return code - 1;
	if (tzml_open(argv[optind], options.world, &session) ||
	    tzml_select(session, options.entry))
		errx(1, "%s", tzml_error());
	run(session, options.count, argv[optind + 1], argv[optind + 2]);
	tzml_close(session);
	return 0;
}

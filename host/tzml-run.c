// SPDX-License-Identifier: Apache-2.0
/* A small command over libtzml: raw bytes in, raw bytes out. */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tzml.h>
#include <unistd.h>

#include "output.h"

static const char usage[] =
	"usage: tzml-run [-w tee|ree] [-e ENTRY] [-n COUNT] [-g GRANT]\n"
	"                [-W SECONDS] BUNDLE INPUT OUTPUT\n"
	"       tzml-run --list-libraries\n"
	"       tzml-run --remove-library UUID\n"
	"\n"
	"Run the model in BUNDLE on the bytes of the file INPUT (all inputs,\n"
	"one after the other, as `tzml inspect` lists them) and write the bytes\n"
	"of its outputs to the file OUTPUT. Print the time of each run in\n"
	"microseconds.\n"
	"\n"
	"  -w, --world WORLD  tee: in the secure world (default);\n"
	"                     ree: in this process\n"
	"  -e, --entry ENTRY  run this entry point, by its number (default 0)\n"
	"  -n, --count COUNT  run COUNT times (default 1)\n"
	"  -g, --grant GRANT  the grant (.tzg) for a sealed BUNDLE; default: one\n"
	"                     that is appended to it\n"
	"  -W, --wait SECONDS wait so long when OP-TEE has no room for another\n"
	"                     session (default 0)\n"
	"  --list-libraries   print the kernel libraries that are installed on\n"
	"                     this device: UUID, version, bytes\n"
	"  --remove-library UUID  remove one; a bundle that brings it installs\n"
	"                     it again\n"
	"  -V, --version      print the version\n"
	"  -h, --help         print this text\n"
	"\n"
	"INPUT can be -, for standard input, and OUTPUT -, for standard output;\n"
	"the times are then printed to standard error.\n"
	"\n"
	"Exit codes: 0 success, 1 an error, 2 a wrong command line.\n";

static int complain(const char *message)
{
	if (message)
		fprintf(stderr, "tzml-run: %s\n", message);
	fputs("Try 'tzml-run --help'.\n", stderr);
	return 2;
}

/* The whole file, which must have `size` bytes. */
static void *read_input(const char *path, size_t size)
{
	FILE *file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
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

static void *read_grant(const char *path, size_t *size)
{
	const size_t most = 1 << 20;
	FILE *file = fopen(path, "rb");
	void *data = malloc(most);

	if (!file)
		err(1, "%s", path);
	if (!data)
		errx(1, "no memory for a grant");
	*size = fread(data, 1, most, file);
	if (ferror(file))
		err(1, "%s", path);
	fclose(file);
	return data;
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
	FILE *times = output_is_stdout(output) ? stderr : stdout;
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
		fprintf(times, "%.1f\n", (double)nanoseconds / 1000);
	}
	if (output_write(output, outputs, outputs_size))
		err(1, "cannot write %s", output);
	free(outputs);
	free(inputs);
}

struct options {
	uint32_t world;
	uint32_t entry;
	long count;
	long wait; /* seconds */
	bool list;
	const char *remove; /* UUID, or NULL */
	const char *grant;
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
		{ "count", required_argument, NULL, 'n' },
		{ "entry", required_argument, NULL, 'e' },
		{ "grant", required_argument, NULL, 'g' },
		{ "help", no_argument, NULL, 'h' },
		{ "list-libraries", no_argument, NULL, 'L' },
		{ "remove-library", required_argument, NULL, 'R' },
		{ "version", no_argument, NULL, 'V' },
		{ "wait", required_argument, NULL, 'W' },
		{ "world", required_argument, NULL, 'w' },
		{ NULL, 0, NULL, 0 },
	};
	long number = 0;
	int option = 0;

	while ((option = getopt_long(argc, argv, "e:g:hn:Vw:W:", names,
				     NULL)) != -1) {
		switch (option) {
		case 'e':
			if (!parse_number(optarg, 0, &number))
				return 1 + complain("-e takes a number");
			options->entry = (uint32_t)number;
			break;
		case 'g':
			options->grant = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 1;
		case 'L':
			options->list = true;
			break;
		case 'R':
			options->remove = optarg;
			break;
		case 'W':
			if (!parse_number(optarg, 0, &options->wait))
				return 1 + complain("-W takes seconds");
			break;
		case 'n':
			if (!parse_number(optarg, 1, &options->count))
				return 1 +
				       complain("-n takes a positive number");
			break;
		case 'V':
			puts("tzml-run " TZML_RELEASE);
			return 1;
		case 'w':
			if (strcmp(optarg, "tee") && strcmp(optarg, "ree"))
				return 1 + complain("-w takes tee or ree");
			options->world = strcmp(optarg, "tee") ? TZML_WORLD_REE
							       : TZML_WORLD_TEE;
			break;
		default: /* getopt_long has said what is wrong */
			return 1 + complain(NULL);
		}
	}
	if (options->list || options->remove)
		return argc == optind ? 0
				      : 1 + complain("no file is needed here");
	return argc - optind == 3
		       ? 0
		       : 1 + complain("give BUNDLE, INPUT and OUTPUT");
}

static void list_libraries(void)
{
	struct tzml_library_info libraries[256] = { 0 };
	const uint32_t room = sizeof(libraries) / sizeof(libraries[0]);
	uint32_t count = room;

	if (tzml_list_libraries(libraries, &count))
		errx(1, "%s", tzml_error());
	for (uint32_t i = 0; i < count && i < room; i++)
		printf("%s %u %llu\n", libraries[i].uuid, libraries[i].version,
		       (unsigned long long)libraries[i].size);
	if (count > room)
		errx(1, "and %u more", count - room);
}

static uint32_t open_once(const char *path, const struct options *options,
			  struct tzml_session **session)
{
	uint32_t status = 0;
	size_t size = 0;
	void *grant = NULL;

	if (!options->grant)
		return tzml_open(path, options->world, session);
	grant = read_grant(options->grant, &size);
	status = tzml_open_granted(path, grant, size, options->world, session);
	free(grant);
	return status;
}

/* Open the bundle; when there is no room, again and again for some seconds. */
static struct tzml_session *open_bundle(const char *path,
					const struct options *options)
{
	struct tzml_session *session = NULL;
	time_t end = time(NULL) + options->wait;
	uint32_t status = 0;

	while ((status = open_once(path, options, &session)) ==
		       TZML_ERROR_BUSY &&
	       time(NULL) < end)
		sleep(1);
	if (status || tzml_select(session, options->entry))
		errx(1, "%s", tzml_error());
	return session;
}

int main(int argc, char **argv)
{
	struct options options = { .world = TZML_WORLD_TEE, .count = 1 };
	struct tzml_session *session = NULL;
	int code = parse_options(argc, argv, &options);
	const char *output = NULL;

	/* whole lines, which those of other processes do not interrupt */
	setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
	if (code)
		return fflush(stdout) ? 1 : code - 1; /* of --help */
	if (options.list || options.remove) {
		if (options.remove && tzml_remove_library(options.remove))
			errx(1, "%s", tzml_error());
		if (options.list)
			list_libraries();
		return fflush(stdout) || ferror(stdout);
	}
	/* the work may take long: see first whether its result has a place */
	output = argv[optind + 2];
	for (int i = optind; i < optind + 2; i++)
		if (output_replaces(output, argv[i]))
			errx(1, "cannot write %s: it is an input", output);
	if (output_check(output))
		err(1, "cannot write %s", output);
	session = open_bundle(argv[optind], &options);
	run(session, options.count, argv[optind + 1], output);
	if (tzml_takes_clear(session))
		warnx("warning: this is a development image: its secure world "
		      "also runs models that nobody sealed");
	tzml_close(session);
	if (fflush(stdout) || ferror(stdout))
		err(1, "standard output");
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
/*
 * test_model FOLDER: what a caller of the runtime can do wrong, in which order
 * it can call, and what is left after a failure. FOLDER has the specification's
 * examples. Prints one TAP line a check (https://testanything.org), and exits 0
 * if all passed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml/model.h>

#include "example_kernels.h"
#include "tap.h"
#include "test_platform.h"

#define ANSWER	   620.f /* of most examples for 0, 1, …, 15 */
#define NUMBERS	   16
#define INPUT_SIZE (NUMBERS * sizeof(float))

static const char *folder;
/* A bundle of the examples, and the model that it becomes. */
struct fixture {
	uint8_t *file;
	struct test_context context;
	struct tzml_model model;
	float input[NUMBERS];
	float output[NUMBERS];
	size_t output_size;
	uint32_t loads; /* sections that were loaded whole */
	uint64_t order; /* tells in which order sections were loaded */
};

static const struct tzml_section *section_of(const struct fixture *f,
					     uint32_t section)
{
	return tzml_bundle_sections((const void *)f->file) + section;
}

static void read_example(struct fixture *f, const char *name)
{
	const size_t room = 1 << 20;
	char file[64] = "";

	memset(f, 0, sizeof(*f));
	snprintf(file, sizeof(file), "%s.tzm", name);
	f->file = malloc(room);
	test_read_file(folder, file, f->file, room);
	test_context_open(&f->context);
	for (int i = 0; i < NUMBERS; i++)
		f->input[i] = i;
	f->output_size = sizeof(float);
}

static enum tzml_status open_header(struct fixture *f)
{
	const struct tzml_header *header = (const void *)f->file;

	return tzml_model_open(&f->model, &test_platform, &f->context, header,
			       header->header_size);
}

/* Hand over up to `size` of the next bytes, in a block of their own. */
static enum tzml_status load_piece(struct fixture *f, size_t size)
{
	uint32_t wanted = tzml_model_wanted(&f->model);
	const struct tzml_section *section = section_of(f, wanted);
	uint64_t loaded = f->model.loaded;
	enum tzml_status status = TZML_SUCCESS;
	uint8_t *piece = NULL;

	if (size > section->size - loaded)
		size = section->size - loaded;
	piece = malloc(size);
	memcpy(piece, f->file + section->offset + loaded, size);
	if (f->context.shared_size) {
		f->context.shared = piece;
		f->context.shared_size = size;
	}
	status = tzml_model_load(&f->model, wanted, loaded, piece, size);
	f->context.shared = NULL;
	f->loads += loaded + size == section->size;
	f->order = 31 * f->order + wanted + 1;
	free(piece);
	return status;
}

static enum tzml_status load(struct fixture *f)
{
	enum tzml_status status = TZML_SUCCESS;

	while (!status && tzml_model_wanted(&f->model) != TZML_NO_SECTION)
		status = load_piece(f, SIZE_MAX);
	return status;
}

/* Load until a section of that type is wanted. */
static void load_up_to(struct fixture *f, enum tzml_section_type type)
{
	while (section_of(f, tzml_model_wanted(&f->model))->type !=
	       (uint32_t)type)
		if (load_piece(f, SIZE_MAX))
			abort();
}

static enum tzml_status start(struct fixture *f, uint32_t program)
{
	return tzml_model_start(&f->model, program, f->input, INPUT_SIZE);
}

static enum tzml_status go_on(struct fixture *f)
{
	return tzml_model_continue(&f->model, f->output, f->output_size);
}

static enum tzml_status run(struct fixture *f, uint32_t program)
{
	enum tzml_status status = start(f, program);

	memset(f->output, 0, sizeof(f->output));
	while (!status && tzml_model_running(&f->model)) {
		status = go_on(f);
		if (!status)
			status = load(f);
	}
	return status;
}

/* Whether a run gives that number. */
static bool answers(struct fixture *f, float expected)
{
	return !run(f, 0) && f->output[0] == expected;
}

static void open_example(struct fixture *f, const char *name)
{
	read_example(f, name);
	if (open_header(f) || load(f)) {
		fprintf(stderr, "%s does not load\n", name);
		exit(2);
	}
}

/* Everything is given back, which test_context_close checks. */
static void close_example(struct fixture *f)
{
	tzml_model_close(&f->model);
	test_context_close(&f->context);
	free(f->file);
}

static bool is_closed(const struct fixture *f)
{
	return f->model.state == TZML_MODEL_CLOSED && !f->context.allocated &&
	       !f->context.opened &&
	       tzml_model_wanted(&f->model) == TZML_NO_SECTION;
}

static void test_headers(void)
{
	const size_t most = sizeof(struct tzml_header) +
			    TZML_MAX_SECTIONS * sizeof(struct tzml_section);
	const struct tzml_header *header = NULL;
	struct fixture f;

	read_example(&f, "minimal");
	header = (const void *)f.file;
	check(tzml_model_open(&f.model, &test_platform, &f.context, header,
			      sizeof(*header) - 1) == TZML_ERROR_TRUNCATED &&
		      is_closed(&f),
	      "a header that is a byte short is refused");
	check(tzml_model_open(&f.model, &test_platform, &f.context, header,
			      header->header_size - 1) ==
			      TZML_ERROR_TRUNCATED &&
		      tzml_model_open(&f.model, &test_platform, &f.context,
				      header, header->header_size + 1) ==
			      TZML_ERROR_TRUNCATED,
	      "a header of another size than it says is refused");
	check(tzml_model_open(&f.model, &test_platform, &f.context, header,
			      most + 1) == TZML_ERROR_LIMIT &&
		      tzml_model_open(&f.model, &test_platform, &f.context,
				      header, most) == TZML_ERROR_TRUNCATED,
	      "nothing is copied of a header that is larger than any");
	check(tzml_bundle_check(header, header->header_size - 1) ==
			      TZML_ERROR_TRUNCATED &&
		      !tzml_bundle_check(header, header->header_size),
	      "a header is checked as a whole");
	close_example(&f);
}

static void test_order_of_pieces(void)
{
	static const char zeros[8192];
	struct fixture f;

	read_example(&f, "minimal");
	check(tzml_model_load(&f.model, 0, 0, zeros, 1) == TZML_ERROR_STATE,
	      "a closed model takes no piece");
	open_header(&f);
	check(tzml_model_load(&f.model, 1, 0, zeros, 1) ==
			      TZML_ERROR_LOAD_ORDER &&
		      is_closed(&f),
	      "another section than the one that is wanted closes the model");
	open_header(&f);
	check(tzml_model_load(&f.model, 0, 1, zeros, 1) ==
			      TZML_ERROR_LOAD_ORDER &&
		      is_closed(&f),
	      "a piece that skips a byte closes the model");
	open_header(&f);
	check(tzml_model_load(&f.model, 0, 0, zeros, 0) ==
			      TZML_ERROR_LOAD_ORDER &&
		      is_closed(&f),
	      "an empty piece closes the model");
	open_header(&f);
	check(tzml_model_load(&f.model, 0, 0, zeros,
			      section_of(&f, 0)->size + 1) ==
			      TZML_ERROR_LOAD_ORDER &&
		      is_closed(&f),
	      "a piece past the section's end closes the model");
	open_header(&f);
	load_piece(&f, 1);
	check(tzml_model_load(&f.model, 0, 1, zeros, section_of(&f, 0)->size) ==
			      TZML_ERROR_LOAD_ORDER &&
		      is_closed(&f),
	      "so does one that ends past it because of earlier pieces");
	check(!open_header(&f) && !load(&f) && answers(&f, ANSWER),
	      "and a model can be opened again after each");
	check(tzml_model_load(&f.model, 0, 0, zeros, 1) == TZML_ERROR_STATE &&
		      answers(&f, ANSWER),
	      "a model that is ready takes no piece, and stays ready");
	close_example(&f);
}

static void test_order_of_calls(void)
{
	struct fixture f;

	read_example(&f, "minimal");
	check(start(&f, 0) == TZML_ERROR_STATE &&
		      go_on(&f) == TZML_ERROR_STATE &&
		      tzml_model_reset(&f.model) == TZML_ERROR_STATE &&
		      !tzml_model_plan(&f.model, 0),
	      "a closed model does nothing");
	open_header(&f);
	load_up_to(&f, TZML_SECTION_WEIGHTS);
	check(start(&f, 0) == TZML_ERROR_STATE &&
		      go_on(&f) == TZML_ERROR_STATE &&
		      tzml_model_reset(&f.model) == TZML_ERROR_STATE,
	      "a model that is half loaded does nothing");
	check(!load(&f) && go_on(&f) == TZML_ERROR_STATE,
	      "a run that was not started cannot go on");
	check(answers(&f, ANSWER) && go_on(&f) == TZML_ERROR_STATE,
	      "nor one that is at its end");
	check(start(&f, 1) == TZML_ERROR_PROGRAM &&
		      start(&f, TZML_MAX_PROGRAMS - 1) == TZML_ERROR_PROGRAM &&
		      start(&f, TZML_MAX_PROGRAMS) == TZML_ERROR_PROGRAM &&
		      start(&f, UINT32_MAX) == TZML_ERROR_PROGRAM,
	      "a program that is not there is refused");
	check(answers(&f, ANSWER), "and the model still runs");
	close_example(&f);
}

static void test_sizes(void)
{
	struct fixture f;

	open_example(&f, "minimal");
	check(tzml_model_start(&f.model, 0, f.input, 0) ==
			      TZML_ERROR_INPUT_SIZE &&
		      tzml_model_start(&f.model, 0, f.input, INPUT_SIZE - 1) ==
			      TZML_ERROR_INPUT_SIZE &&
		      tzml_model_start(&f.model, 0, f.input, INPUT_SIZE + 1) ==
			      TZML_ERROR_INPUT_SIZE &&
		      !tzml_model_running(&f.model),
	      "inputs of another size are refused");
	start(&f, 0);
	check(tzml_model_continue(&f.model, f.output, sizeof(float) - 1) ==
			      TZML_ERROR_OUTPUT_SIZE &&
		      tzml_model_continue(&f.model, f.output,
					  sizeof(float) + 1) ==
			      TZML_ERROR_OUTPUT_SIZE &&
		      f.output[0] == 0,
	      "outputs of another size are refused");
	check(!go_on(&f) && f.output[0] == ANSWER,
	      "and the run goes on with the right ones");
	close_example(&f);
}

/* The normal world sees what it handed over, and may change it at any time. */
static void test_shared_memory(void)
{
	struct fixture f;

	read_example(&f, "two-pieces");
	f.context.shared_size = 1;
	check(!open_header(&f) && !load(&f) && answers(&f, ANSWER),
	      "what is changed after it was copied changes nothing");
	close_example(&f);
}

/* What is asked for tells the normal world nothing of the input. */
static void test_order_of_chunks(void)
{
	static const float inputs[] = { 0, -1, 1e-45f, 1e30f, -1e30f };
	uint64_t order = 0;
	uint32_t same = 0;
	struct fixture f;

	open_example(&f, "streamed");
	run(&f, 0); /* which finds what was loaded at first */
	f.order = 0;
	run(&f, 0);
	order = f.order;
	for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
		for (size_t j = 0; j < NUMBERS; j++)
			f.input[j] = inputs[i];
		f.order = 0;
		same += !run(&f, 0) && f.order == order;
	}
	check(order && same == sizeof(inputs) / sizeof(inputs[0]),
	      "chunks are asked for in the same order, whatever the input");
	close_example(&f);
}

static void test_streaming(void)
{
	struct fixture f;

	open_example(&f, "streamed");
	check(answers(&f, ANSWER), "chunks that share a place take turns");
	f.loads = 0;
	check(answers(&f, ANSWER) && f.loads == 2,
	      "each run loads both of them");
	start(&f, 0);
	go_on(&f);
	check(tzml_model_running(&f.model) && go_on(&f) == TZML_ERROR_STATE,
	      "a run does not go on while a chunk is missing");
	load_piece(&f, 10);
	check(!tzml_model_start(&f.model, 0, f.input, INPUT_SIZE) &&
		      tzml_model_wanted(&f.model) == TZML_NO_SECTION &&
		      answers(&f, ANSWER),
	      "a run that is given up in the middle of a chunk leaves no half "
	      "of it");
	close_example(&f);

	open_example(&f, "weights-for-all");
	check(f.model.present[0] && !f.model.present[1] && f.model.present[2] &&
		      !f.model.present[3] && answers(&f, ANSWER) &&
		      !f.model.present[0] && f.model.present[1] &&
		      !f.model.present[2] && f.model.present[3],
	      "what has room is loaded at first, and nothing over it");
	close_example(&f);

	open_example(&f, "two-chunks-a-call");
	f.loads = 0;
	check(answers(&f, 4 * ANSWER) && !f.loads,
	      "chunks with a place of their own are loaded once");
	close_example(&f);
}

static void test_state(void)
{
	struct fixture f;

	open_example(&f, "state");
	check(answers(&f, ANSWER) && answers(&f, 2 * ANSWER) &&
		      answers(&f, 3 * ANSWER),
	      "state is what earlier runs made of it");
	check(!tzml_model_reset(&f.model) && start(&f, 0) == TZML_ERROR_STATE &&
		      !load(&f) && answers(&f, ANSWER),
	      "a reset loads its initial content again");
	tzml_model_reset(&f.model);
	load_piece(&f, 10);
	check(tzml_model_reset(&f.model) == TZML_ERROR_STATE && !load(&f) &&
		      answers(&f, ANSWER),
	      "a reset that is under way is not begun again");
	tzml_model_reset(&f.model);
	f.file[section_of(&f, tzml_model_wanted(&f.model))->offset] ^= 1;
	check(load(&f) == TZML_ERROR_SECTION_DIGEST && is_closed(&f),
	      "a reset takes only the content that the bundle had");
	close_example(&f);

	open_example(&f, "output-in-state");
	check(answers(&f, ANSWER), "an output may lie in the state");
	check(((float *)f.model.state_memory.data)[NUMBERS] == ANSWER &&
		      !tzml_model_reset(&f.model) && !load(&f) &&
		      !((float *)f.model.state_memory.data)[NUMBERS],
	      "a reset makes zeros of what has no initial content");
	close_example(&f);

	open_example(&f, "minimal");
	f.loads = 0;
	check(!tzml_model_reset(&f.model) &&
		      f.model.state == TZML_MODEL_READY && !f.loads &&
		      answers(&f, ANSWER) && !f.model.state_memory.data,
	      "a model without state is ready after a reset");
	close_example(&f);
}

/* Its first call changes the state; the next one takes another chunk. */
static void test_runs_that_do_not_end(void)
{
	struct fixture f;

	open_example(&f, "state-streamed");
	start(&f, 0);
	go_on(&f);
	check(f.model.position.call == 1 &&
		      start(&f, 0) == TZML_ERROR_STATE_LOST,
	      "a run that is given up after it changed the state loses it");
	check(start(&f, 0) == TZML_ERROR_STATE_LOST &&
		      start(&f, 1) == TZML_ERROR_STATE_LOST &&
		      start(&f, 2) == TZML_ERROR_PROGRAM,
	      "then no program runs");
	check(!tzml_model_reset(&f.model) && !load(&f) &&
		      answers(&f, 2 * ANSWER),
	      "until the state is reset");
	/* now the second chunk is there, and the first call waits for the first */
	start(&f, 0);
	go_on(&f);
	check(f.model.position.call == 0 && !f.model.state_lost &&
		      tzml_model_running(&f.model) && answers(&f, 3 * ANSWER),
	      "a run that is given up before its first call loses nothing");
	start(&f, 0);
	check(!tzml_model_reset(&f.model) && !load(&f) &&
		      answers(&f, 2 * ANSWER),
	      "a reset gives up the run that is under way");
	start(&f, 1);
	go_on(&f);
	load(&f);
	check(!run(&f, 1) && !f.model.state_lost,
	      "a program that only reads the state never loses it");
	close_example(&f);

	/* it takes the second chunk in its second call, and changes no state */
	open_example(&f, "streamed");
	run(&f, 0);
	start(&f, 0);
	go_on(&f);
	load(&f);
	go_on(&f);
	check(f.model.position.call == 1 && answers(&f, ANSWER),
	      "a run without state may be given up at any time");
	close_example(&f);
}

static void test_failing_kernels(void)
{
	struct fixture f;

	open_example(&f, "minimal");
	example_kernels_fail = 1;
	check(run(&f, 0) == TZML_ERROR_KERNEL_FAILED &&
		      !tzml_model_running(&f.model) && !f.output[0],
	      "a kernel that fails ends the run");
	example_kernels_fail = 0;
	check(answers(&f, ANSWER), "and the next run is right");
	close_example(&f);

	open_example(&f, "state");
	example_kernels_fail = 1;
	check(run(&f, 0) == TZML_ERROR_KERNEL_FAILED, "it fails");
	example_kernels_fail = 0;
	check(start(&f, 0) == TZML_ERROR_STATE_LOST &&
		      !tzml_model_reset(&f.model) && !load(&f) &&
		      answers(&f, ANSWER),
	      "a kernel that fails in a program that writes state loses it");
	close_example(&f);
}

/* A library that differs from the examples' in one field of its table. */
static enum tzml_status open_with_library(struct fixture *f, size_t field)
{
	const size_t size = sizeof(struct tzml_kernel_table) +
			    3 * sizeof(struct tzml_kernel) +
			    7 * sizeof(struct tzml_kernel_argument);
	uint8_t *table = malloc(size);
	struct tzml_kernels kernels = {
		.table = (const void *)table,
		.call = example_kernels.call,
	};
	enum tzml_status status = TZML_SUCCESS;

	memcpy(table, example_kernels.table, size);
	table[field] ^= 1;
	f->context.kernels = &kernels;
	status = open_header(f);
	if (!status)
		status = load(f);
	tzml_model_close(&f->model);
	f->context.kernels = &example_kernels;
	free(table);
	return status;
}

static void test_libraries(void)
{
	unsigned int refused = 0;
	unsigned int tried = 0;
	struct fixture f;

	read_example(&f, "minimal");
	for (size_t i = 0; i < sizeof(struct tzml_kernel_table); i++) {
		if (i >= offsetof(struct tzml_kernel_table, kernel_count) &&
		    i < offsetof(struct tzml_kernel_table, digest))
			continue;
		refused +=
			open_with_library(&f, i) == TZML_ERROR_KERNELS_CHANGED;
		tried++;
	}
	check(refused == tried && tried == 8 + TZML_DIGEST_SIZE,
	      "a library is refused if its magic, ABI or digest differs in "
	      "any byte");
	f.loads = 0;
	check(!open_header(&f) && !load(&f) && f.loads == 5 &&
		      answers(&f, ANSWER),
	      "a library is asked for each time, also when it was opened "
	      "before");
	close_example(&f);

	open_example(&f, "two-libraries");
	check(f.context.opened == 2 && answers(&f, ANSWER) && !run(&f, 1) &&
		      f.output[0] == 120 && !run(&f, 2) && f.output[0] == 120,
	      "each library is opened once, however many programs name it");
	close_example(&f);
}

static void test_worlds(void)
{
	const struct tzml_header *header = NULL;
	struct fixture f;

	read_example(&f, "no-program-for-both");
	header = (const void *)f.file;
	f.output_size = INPUT_SIZE;
	check(!tzml_model_open(&f.model, &test_platform_ree, &f.context, header,
			       header->header_size) &&
		      !load(&f) && !run(&f, 0) && f.output[15] == 112.5f,
	      "the REE runs its own program");
	check(start(&f, 1) == TZML_ERROR_PROGRAM &&
		      !tzml_model_plan(&f.model, 1),
	      "and not the TEE's");
	tzml_model_close(&f.model);
	f.output_size = sizeof(float);
	check(!open_header(&f) && !load(&f) && !run(&f, 1) &&
		      f.output[0] == 120 && start(&f, 0) == TZML_ERROR_PROGRAM,
	      "the TEE runs its own program, and not the REE's");
	close_example(&f);

	read_example(&f, "secure-memory");
	header = (const void *)f.file;
	check(!tzml_model_open(&f.model, &test_platform_ree, &f.context, header,
			       header->header_size) &&
		      !load(&f) && answers(&f, ANSWER),
	      "the REE may take more memory than the TEE was promised");
	close_example(&f);
}

/* Let everything of the platform fail once, at every call of it. */
static void test_failing_platform(const char *name)
{
	enum tzml_status status = TZML_ERROR_MEMORY;
	uint32_t before = 0;
	struct fixture f;

	read_example(&f, name);
	for (before = 0; status == TZML_ERROR_MEMORY; before++) {
		f.context.allocations_left = before;
		status = open_header(&f);
		if (!status)
			status = load(&f);
		if (status && !is_closed(&f))
			break;
	}
	check(!status && before > 5 && answers(&f, ANSWER),
	      "%s: without memory at any of %u times, everything is given back",
	      name, before);
	tzml_model_close(&f.model);
	f.context.allocations_left = NEVER;
	status = TZML_ERROR_PLATFORM;
	for (before = 0; status == TZML_ERROR_PLATFORM; before++) {
		f.context.digests_left = before;
		status = open_header(&f);
		if (!status)
			status = load(&f);
		if (status && !is_closed(&f))
			break;
	}
	check(!status && before > 15 && answers(&f, ANSWER),
	      "%s: a digest that fails at any of %u times is reported", name,
	      before);
	close_example(&f);
}

/* The example has an input of 64 random bytes at 192. */
static void test_random_inputs(void)
{
	uint8_t first[64] = { 0 };
	struct fixture f;

	open_example(&f, "random-input");
	check(answers(&f, ANSWER), "nobody gives what is random");
	memcpy(first, (uint8_t *)f.model.arena.data + 192, sizeof(first));
	check(answers(&f, ANSWER) && memcmp((uint8_t *)f.model.arena.data + 192,
					    first, sizeof(first)),
	      "and it is another in each run");
	f.context.digests_left = 0;
	check(start(&f, 0) == TZML_ERROR_PLATFORM &&
		      !tzml_model_running(&f.model) && answers(&f, ANSWER),
	      "without random numbers nothing runs");
	close_example(&f);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: test_model FOLDER\n", stderr);
		return 2;
	}
	folder = argv[1];
	test_headers();
	test_order_of_pieces();
	test_order_of_calls();
	test_sizes();
	test_shared_memory();
	test_streaming();
	test_order_of_chunks();
	test_state();
	test_runs_that_do_not_end();
	test_failing_kernels();
	test_libraries();
	test_worlds();
	test_random_inputs();
	test_failing_platform("minimal");
	test_failing_platform("two-pieces");
	return tap_end();
}

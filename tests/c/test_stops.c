// SPDX-License-Identifier: Apache-2.0
/*
 * Random plans, run for several samples at once: the samples stop where a chunk
 * is missing, keep the bytes that are still read and no others, and get the
 * outputs that each gets alone. Prints one TAP line a check, and exits 0 if all
 * passed.
 */
#include <stdlib.h>
#include <string.h>

#include "live.h"
#include "random_plan.h"
#include "tap.h"
#include "test_platform.h"

#define ROUNDS	12000
#define SAMPLES 3

/* A model with a random plan. Its sections are its chunks, in that order. */
struct fixture {
	struct example example;
	struct {
		struct tzml_header header;
		struct tzml_section sections[CHUNKS];
	} bundle;
	struct test_context context;
	struct tzml_model model;
	bool present[CHUNKS];
	bool present_before[CHUNKS]; /* when the batch starts */
	uint32_t loads;
	uint8_t *inputs;
	uint8_t *alone; /* outputs */
	uint8_t *together;
};

/* What a checker says that looks at one byte after the other. */
struct expected {
	uint32_t loads;
	uint32_t stop_count; /* with the beginning */
	uint32_t calls[CALLS];
	bool live[CALLS][ARENA];
	uint64_t slot;
};

static const struct example *running;

/* What it writes depends on every byte that it reads. */
static int32_t mix(uint32_t number, void *const *arguments)
{
	const struct kernel *kernel = running->kernels + number;
	uint32_t hash = number;

	for (uint32_t i = 0; i < kernel->count; i++)
		for (uint64_t j = 0; j < kernel->sizes[i]; j++)
			if (kernel->accesses[i] & TZML_READ)
				hash = hash * 31 +
				       ((const uint8_t *)arguments[i])[j];
	for (uint32_t i = 0; i < kernel->count; i++)
		for (uint64_t j = 0; j < kernel->sizes[i]; j++)
			if (kernel->accesses[i] & TZML_WRITE) {
				hash = hash * 1664525 + 1013904223;
				((uint8_t *)arguments[i])[j] = hash >> 24;
			}
	return 0;
}

/* As if the section that is wanted came. */
static void load(struct fixture *f)
{
	uint32_t chunk = f->model.wanted;
	uint8_t *weights = f->model.weights.data;

	if (chunk == TZML_NO_SECTION)
		return;
	memset(weights + f->example.layout.chunks[chunk].offset, (int)chunk + 1,
	       CHUNK);
	f->present[chunk] = true;
	f->model.wanted = TZML_NO_SECTION;
	f->loads++;
}

static bool share_a_place(const struct fixture *f, uint32_t a, uint32_t b)
{
	return f->example.layout.chunks[a].offset ==
	       f->example.layout.chunks[b].offset;
}

/* Some chunks are there, others not, and of two in one place one at most. */
static void load_some(struct fixture *f)
{
	memset(f->present, 0, sizeof(f->present));
	for (uint32_t i = 0; i < CHUNKS; i++) {
		bool room = true;

		for (uint32_t j = 0; j < i; j++)
			room = room &&
			       !(f->present[j] && share_a_place(f, i, j));
		if (!room || below(2))
			continue;
		f->model.wanted = i;
		load(f);
	}
	f->loads = 0;
}

static void fill(uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)below(256);
}

static void open_model(struct fixture *f)
{
	struct example *e = &f->example;
	const struct tzml_plan *plan = &e->plan;

	f->bundle.header.section_count = CHUNKS;
	for (uint32_t i = 0; i < CHUNKS; i++)
		f->bundle.sections[i] = (struct tzml_section){
			.type = TZML_SECTION_WEIGHTS,
			.index = i,
			.worlds = TZML_IN_TEE,
		};
	test_context_open(&f->context);
	running = e;
	e->program.role = TZML_ROLE_INFER;
	f->model = (struct tzml_model){
		.state = TZML_MODEL_READY,
		.platform = &test_platform,
		.context = &f->context,
		.header = { &f->bundle, sizeof(f->bundle) },
		.arena = { malloc(ARENA), ARENA },
		.weights = { calloc(CHUNKS, CHUNK), CHUNKS * CHUNK },
		.state_memory = { malloc(STATE), STATE },
		.interface = e->interface,
		.layout = e->layout,
		.plans = { *plan },
		.present = f->present,
		.wanted = TZML_NO_SECTION,
	};
	f->model.libraries[plan->header->library] =
		(struct tzml_kernels){ e->table, mix };
	fill(f->model.arena.data, ARENA);
	fill(f->model.state_memory.data, STATE);
	f->inputs = malloc(SAMPLES * plan->inputs_size);
	f->alone = malloc(SAMPLES * plan->outputs_size);
	f->together = malloc(SAMPLES * plan->outputs_size);
	fill(f->inputs, SAMPLES * plan->inputs_size);
}

static void close_model(struct fixture *f)
{
	free(f->model.arena.data);
	free(f->model.weights.data);
	free(f->model.state_memory.data);
	free(f->inputs);
	free(f->alone);
	free(f->together);
	test_context_close(&f->context);
}

/* Whether a call touches a byte of the arena that way. */
static bool touches(const struct example *e, uint32_t call, uint64_t byte,
		    enum tzml_access access)
{
	const struct kernel *kernel = e->kernels + e->plan.calls[call].kernel;
	const struct tzml_argument *arguments = e->plan.arguments;

	for (uint32_t i = 0; i < call; i++)
		arguments += e->plan.calls[i].argument_count;
	for (uint32_t i = 0; i < kernel->count; i++)
		if (arguments[i].region == TZML_REGION_ARENA &&
		    kernel->accesses[i] & access &&
		    arguments[i].offset <= byte &&
		    byte < arguments[i].offset + arguments[i].size)
			return true;
	return false;
}

/* Whether anything reads a byte, from a call on, before it is written. */
static bool is_live(const struct example *e, uint32_t call, uint64_t byte)
{
	for (; call < e->plan.header->call_count; call++) {
		if (touches(e, call, byte, TZML_READ))
			return true;
		if (touches(e, call, byte, TZML_WRITE))
			return false;
	}
	for (uint32_t i = e->program.input_count;
	     i < e->plan.header->port_count; i++) {
		const struct tzml_place *place = e->plan.places + i;

		if (place->region == TZML_REGION_ARENA &&
		    place->offset <= byte &&
		    byte < place->offset + e->tensors[e->ports[i]].size)
			return true;
	}
	return false;
}

static uint64_t size_of_kept(const bool *live)
{
	uint64_t size = 0;
	uint64_t run = 0;

	for (uint64_t i = 0; i < ARENA; i++) {
		run = live[i] ? run + 1 : 0;
		if (run && (i + 1 == ARENA || !live[i + 1]))
			size += tzml_align(run);
	}
	return size;
}

static void add_stop(const struct example *e, uint32_t call,
		     struct expected *expected)
{
	uint32_t stop = expected->stop_count++;

	expected->calls[stop] = call;
	for (uint64_t i = 0; stop && i < ARENA; i++)
		expected->live[stop][i] = is_live(e, call, i);
	if (size_of_kept(expected->live[stop]) > expected->slot)
		expected->slot = size_of_kept(expected->live[stop]);
}

/* How many chunks have to be loaded for a call. */
static uint32_t load_for_call(const struct fixture *f,
			      const struct tzml_argument *arguments,
			      uint32_t count, bool *present)
{
	uint32_t loads = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t chunk = arguments[i].chunk;

		if (arguments[i].region != TZML_REGION_WEIGHTS ||
		    present[chunk])
			continue;
		for (uint32_t j = 0; j < CHUNKS; j++)
			if (share_a_place(f, chunk, j))
				present[j] = false;
		present[chunk] = true;
		loads++;
	}
	return loads;
}

static struct expected expect(const struct fixture *f)
{
	const struct tzml_plan *plan = &f->example.plan;
	const struct tzml_argument *arguments = plan->arguments;
	struct expected expected = { 0 };
	bool present[CHUNKS];

	memcpy(present, f->present, sizeof(present));
	add_stop(&f->example, 0, &expected);
	for (uint32_t i = 0; i < plan->header->call_count; i++) {
		uint32_t count = plan->calls[i].argument_count;
		uint32_t loads = load_for_call(f, arguments, count, present);

		expected.loads += loads;
		if (i && loads)
			add_stop(&f->example, i, &expected);
		arguments += count;
	}
	return expected;
}

static void run_alone(struct fixture *f)
{
	const struct tzml_plan *plan = f->model.plans;

	for (uint32_t i = 0; i < SAMPLES; i++) {
		if (tzml_model_start(&f->model, 0,
				     f->inputs + i * plan->inputs_size,
				     plan->inputs_size))
			abort();
		while (tzml_model_running(&f->model)) {
			if (tzml_model_continue(&f->model,
						f->alone +
							i * plan->outputs_size,
						plan->outputs_size))
				abort();
			load(f);
		}
	}
}

static void go_on(struct fixture *f)
{
	const struct tzml_plan *plan = f->model.plans;

	while (tzml_model_running(&f->model)) {
		if (tzml_batch_continue(
			    &f->model, f->inputs, SAMPLES * plan->inputs_size,
			    f->together, SAMPLES * plan->outputs_size))
			abort();
		load(f);
	}
}

/* Whether the ranges are the bytes that are marked, and no others. */
static bool has_marked(const struct tzml_live *live, const bool *marks)
{
	bool in_range[ARENA] = { false };

	for (uint32_t i = 0; i < live->count; i++)
		for (uint64_t j = live->ranges[i].start;
		     j < live->ranges[i].end; j++)
			in_range[j] = true;
	return !memcmp(in_range, marks, sizeof(in_range)) &&
	       live_size(live) == size_of_kept(marks);
}

/* How many plans were not as they should be, and how many were tried. */
static struct {
	uint32_t stops, kept, slots, loads, outputs;
	uint32_t tried, stopped, keeping, changing;
} count;

static void try_plan(struct fixture *f)
{
	const struct tzml_batch *batch = &f->model.batch;
	const struct tzml_stop *stops = NULL;
	struct expected expected = { 0 };
	bool same_stops = true;
	bool same_kept = true;

	run_alone(f);
	load_some(f);
	expected = expect(f);
	if (tzml_batch_start(&f->model, 0, SAMPLES))
		abort();
	stops = batch->stops.data;
	for (uint32_t i = 0; i < expected.stop_count; i++) {
		same_stops = same_stops && i < batch->stop_count &&
			     stops[i].position.call == expected.calls[i];
		same_kept =
			same_kept && same_stops &&
			(!i || has_marked(&stops[i].live, expected.live[i]));
	}
	count.stops += !same_stops || batch->stop_count != expected.stop_count;
	count.kept += !same_kept;
	count.slots += batch->slot != expected.slot ||
		       batch->parked.size != SAMPLES * expected.slot;
	go_on(f);
	count.loads += f->loads != expected.loads;
	count.outputs += !!memcmp(f->together, f->alone,
				  SAMPLES * f->model.plans[0].outputs_size);
	count.tried++;
	count.stopped += expected.stop_count > 2;
	count.keeping += expected.slot > 0;
}

static void try_example(struct fixture *f)
{
	struct example *e = &f->example;
	const struct tzml_kernels kernels = { e->table, mix };
	void *scratch = malloc(tzml_plan_operands(&e->plan) * TZML_CHECK_BYTES);
	enum tzml_status status = tzml_plan_check_calls(&e->plan, &e->interface,
							&kernels, scratch);

	free(scratch);
	if (status)
		return;
	open_model(f);
	if (!e->plan.writes_state)
		try_plan(f);
	else if (tzml_batch_start(&f->model, 0, SAMPLES) ==
		 TZML_ERROR_BATCH_PROGRAM)
		count.changing++;
	else
		abort();
	close_model(f);
}

int main(void)
{
	srand(2);
	for (int round = 0; round < ROUNDS; round++) {
		struct fixture *f = calloc(1, sizeof(*f));

		f->example.filled = below(4);
		if (example_make(&f->example))
			try_example(f);
		example_free(&f->example);
		free(f);
	}
	check(!count.stops, "%u of %u plans stop elsewhere", count.stops,
	      count.tried);
	check(!count.kept, "%u keep other bytes than are still read",
	      count.kept);
	check(!count.slots, "%u have another room for them", count.slots);
	check(!count.loads, "%u load more or fewer chunks", count.loads);
	check(!count.outputs, "%u get other outputs than samples alone",
	      count.outputs);
	check(count.tried > 500 && count.stopped > 10 && count.keeping > 50,
	      "%u stop twice or more, %u keep bytes", count.stopped,
	      count.keeping);
	check(count.changing > 20, "%u change the state and are refused",
	      count.changing);
	return tap_end();
}

// SPDX-License-Identifier: Apache-2.0
/*
 * tzml-ta-test BUNDLE INPUT [NEWER OLDER TWIN]: what a hostile normal world can
 * say to the TA, past every check that libtzml makes. Runs on the device; prints one TAP
 * line a test (https://testanything.org) and exits 0 if all passed.
 *
 * BUNDLE is a sound bundle signed for the image and INPUT the bytes of its
 * inputs: after each piece of mischief the same session, or a new one, must
 * still load and run it. NEWER and OLDER have the same kernel library, signed
 * as versions 1 and 0. TWIN is NEWER with a byte behind its library's code.
 */
#include <err.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tee_client_api.h>
#include <tzml/format.h>
#include <tzml/status.h>
#include <tzml_ta.h>
#include <unistd.h>

struct file {
	uint8_t *data;
	size_t size;
};

static struct file bundle;
static struct file input;
static TEEC_Context context;
static unsigned int count;
static unsigned int failures;

static void check(bool passed, const char *what, ...)
	__attribute__((format(printf, 2, 3)));

static void check(bool passed, const char *what, ...)
{
	va_list arguments;

	printf("%sok %u - ", passed ? "" : "not ", ++count);
	va_start(arguments, what);
	vprintf(what, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
	failures += !passed;
}

static struct file read_file(const char *path)
{
	FILE *stream = fopen(path, "rb");
	struct file file = { 0 };
	long size = 0;

	if (!stream || fseek(stream, 0, SEEK_END))
		err(2, "%s", path);
	size = ftell(stream);
	rewind(stream);
	file.data = malloc(size);
	file.size = size;
	if (!file.data || fread(file.data, 1, size, stream) != (size_t)size)
		err(2, "%s", path);
	fclose(stream);
	return file;
}

static const struct tzml_header *header(void)
{
	return (const struct tzml_header *)bundle.data;
}

static const struct tzml_section *section(uint32_t index)
{
	return (const struct tzml_section *)(header() + 1) + index;
}

static void open_session(TEEC_Session *session)
{
	const TEEC_UUID uuid = TZML_TA_UUID;
	TEEC_Result result = TEEC_OpenSession(
		&context, session, &uuid, TEEC_LOGIN_PUBLIC, NULL, NULL, NULL);

	if (result)
		errx(1, "cannot open a session: %#x", result);
}

static TEEC_Result open_model(TEEC_Session *session, const void *data,
			      size_t size, uint32_t *wanted)
{
	TEEC_Operation operation = { 0 };
	TEEC_Result result = TEEC_SUCCESS;

	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT, TEEC_VALUE_INPUT,
				 TEEC_VALUE_OUTPUT, TEEC_NONE);
	operation.params[0].tmpref.buffer = (void *)data;
	operation.params[0].tmpref.size = size;
	result = TEEC_InvokeCommand(session, TZML_CMD_OPEN, &operation, NULL);
	if (wanted)
		*wanted = operation.params[2].value.a;
	return result;
}

static TEEC_Result load(TEEC_Session *session, uint32_t index, uint32_t offset,
			const void *data, size_t size, uint32_t *wanted)
{
	TEEC_Operation operation = { 0 };
	TEEC_Result result = TEEC_SUCCESS;

	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_VALUE_INPUT, TEEC_MEMREF_TEMP_INPUT,
				 TEEC_VALUE_OUTPUT, TEEC_NONE);
	operation.params[0].value.a = index;
	operation.params[0].value.b = offset;
	operation.params[1].tmpref.buffer = (void *)data;
	operation.params[1].tmpref.size = size;
	result = TEEC_InvokeCommand(session, TZML_CMD_LOAD, &operation, NULL);
	if (wanted)
		*wanted = operation.params[2].value.a;
	return result;
}

static TEEC_Result run_program(TEEC_Session *session, uint32_t program,
			       size_t inputs_size, size_t outputs_size,
			       void *outputs)
{
	TEEC_Operation operation = { 0 };

	operation.paramTypes = TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT,
						TEEC_MEMREF_TEMP_OUTPUT,
						TEEC_VALUE_INOUT, TEEC_NONE);
	operation.params[2].value.a = program;
	operation.params[0].tmpref.buffer = input.data;
	operation.params[0].tmpref.size = inputs_size;
	operation.params[1].tmpref.buffer = outputs;
	operation.params[1].tmpref.size = outputs_size;
	return TEEC_InvokeCommand(session, TZML_CMD_RUN, &operation, NULL);
}

static TEEC_Result run(TEEC_Session *session, size_t inputs_size,
		       size_t outputs_size, void *outputs)
{
	return run_program(session, 0, inputs_size, outputs_size, outputs);
}

/* What a program takes and gives, in `room` bytes. */
static TEEC_Result describe(TEEC_Session *session, uint32_t program,
			    struct tzml_ta_port *ports,
			    TEEC_Operation *operation, size_t room)
{
	memset(operation, 0, sizeof(*operation));
	operation->paramTypes =
		TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_OUTPUT, TEEC_VALUE_INOUT,
				 TEEC_NONE, TEEC_NONE);
	operation->params[0].tmpref.buffer = ports;
	operation->params[0].tmpref.size = room;
	operation->params[1].value.a = program;
	return TEEC_InvokeCommand(session, TZML_CMD_DESCRIBE, operation, NULL);
}

static TEEC_Result reset(TEEC_Session *session, uint32_t *wanted)
{
	TEEC_Operation operation = { 0 };
	TEEC_Result result = TEEC_SUCCESS;

	operation.paramTypes = TEEC_PARAM_TYPES(TEEC_VALUE_OUTPUT, TEEC_NONE,
						TEEC_NONE, TEEC_NONE);
	result = TEEC_InvokeCommand(session, TZML_CMD_RESET, &operation, NULL);
	if (wanted)
		*wanted = operation.params[0].value.a;
	return result;
}

static TEEC_Result continue_run(TEEC_Session *session, void *outputs,
				size_t size)
{
	TEEC_Operation operation = { 0 };

	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_OUTPUT, TEEC_VALUE_OUTPUT,
				 TEEC_NONE, TEEC_NONE);
	operation.params[0].tmpref.buffer = outputs;
	operation.params[0].tmpref.size = size;
	return TEEC_InvokeCommand(session, TZML_CMD_CONTINUE, &operation, NULL);
}

/* Load all of the sound bundle. Returns the size of its outputs, or zero. */
static size_t load_model(TEEC_Session *session)
{
	struct tzml_ta_port ports[2 * TZML_MAX_PORTS] = { 0 };
	TEEC_Operation operation = { 0 };
	uint32_t wanted = 0;
	size_t size = 0;

	if (open_model(session, bundle.data, header()->header_size, &wanted))
		return 0;
	while (wanted != TZML_TA_READY)
		if (load(session, wanted, 0,
			 bundle.data + section(wanted)->offset,
			 section(wanted)->size, &wanted))
			return 0;
	if (describe(session, 0, ports, &operation, sizeof(ports)))
		return 0;
	for (uint32_t i = 0; i < operation.params[1].value.b; i++)
		size += ports[operation.params[1].value.a + i].size;
	return size;
}

/* Whether the session can still do its work from the beginning. */
static bool still_works(TEEC_Session *session)
{
	size_t size = load_model(session);
	uint8_t *outputs = calloc(1, size + 1);
	bool works =
		size && outputs && !run(session, input.size, size, outputs);

	free(outputs);
	return works;
}

/* Every command with every other combination of parameter types. */
static void test_parameter_types(TEEC_Session *session)
{
	static const uint32_t types[] = { TEEC_NONE,
					  TEEC_VALUE_INPUT,
					  TEEC_VALUE_OUTPUT,
					  TEEC_VALUE_INOUT,
					  TEEC_MEMREF_TEMP_INPUT,
					  TEEC_MEMREF_TEMP_OUTPUT };
	/* of each command, which has its number here */
	static const struct {
		const char *name;
		uint32_t types;
	} commands[] = {
		[TZML_CMD_OPEN] = { "OPEN",
				    TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT,
						     TEEC_VALUE_INPUT,
						     TEEC_VALUE_OUTPUT,
						     TEEC_NONE) },
		[TZML_CMD_LOAD] = { "LOAD",
				    TEEC_PARAM_TYPES(TEEC_VALUE_INPUT,
						     TEEC_MEMREF_TEMP_INPUT,
						     TEEC_VALUE_OUTPUT,
						     TEEC_NONE) },
		[TZML_CMD_RUN] = { "RUN",
				   TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT,
						    TEEC_MEMREF_TEMP_OUTPUT,
						    TEEC_VALUE_INOUT,
						    TEEC_NONE) },
		[TZML_CMD_CONTINUE] = { "CONTINUE",
					TEEC_PARAM_TYPES(
						TEEC_MEMREF_TEMP_OUTPUT,
						TEEC_VALUE_OUTPUT, TEEC_NONE,
						TEEC_NONE) },
		[TZML_CMD_DESCRIBE] = { "DESCRIBE",
					TEEC_PARAM_TYPES(
						TEEC_MEMREF_TEMP_OUTPUT,
						TEEC_VALUE_INOUT, TEEC_NONE,
						TEEC_NONE) },
		[TZML_CMD_MEMORY] = { "MEMORY",
				      TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_OUTPUT,
						       TEEC_NONE, TEEC_NONE,
						       TEEC_NONE) },
		[TZML_CMD_RESET] = { "RESET",
				     TEEC_PARAM_TYPES(TEEC_VALUE_OUTPUT,
						      TEEC_NONE, TEEC_NONE,
						      TEEC_NONE) },
		[TZML_CMD_LIBRARIES] = { "LIBRARIES",
					 TEEC_PARAM_TYPES(
						 TEEC_MEMREF_TEMP_OUTPUT,
						 TEEC_NONE, TEEC_NONE,
						 TEEC_NONE) },
		[TZML_CMD_REMOVE_LIBRARY] = { "REMOVE_LIBRARY",
					      TEEC_PARAM_TYPES(
						      TEEC_MEMREF_TEMP_INPUT,
						      TEEC_NONE, TEEC_NONE,
						      TEEC_NONE) },
		[TZML_CMD_GRANT] = { "GRANT",
				     TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT,
						      TEEC_VALUE_OUTPUT,
						      TEEC_NONE, TEEC_NONE) },
		[TZML_CMD_ENROLL] = { "ENROLL",
				      TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT,
						       TEEC_MEMREF_TEMP_OUTPUT,
						       TEEC_NONE, TEEC_NONE) },
		[TZML_CMD_DEVICE] = { "DEVICE",
				      TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_OUTPUT,
						       TEEC_NONE, TEEC_NONE,
						       TEEC_NONE) },
		[TZML_CMD_ATTEST] = { "ATTEST",
				      TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT,
						       TEEC_MEMREF_TEMP_OUTPUT,
						       TEEC_NONE, TEEC_NONE) },
		[TZML_CMD_STAGE] = { "STAGE",
				     TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT,
						      TEEC_MEMREF_TEMP_OUTPUT,
						      TEEC_NONE, TEEC_NONE) },
		[TZML_CMD_JOIN] = { "JOIN",
				    TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT,
						     TEEC_VALUE_OUTPUT,
						     TEEC_NONE, TEEC_NONE) },
		[TZML_CMD_RUN_RECORD] = { "RUN_RECORD",
					  TEEC_PARAM_TYPES(
						  TEEC_MEMREF_TEMP_INPUT,
						  TEEC_MEMREF_TEMP_OUTPUT,
						  TEEC_VALUE_OUTPUT,
						  TEEC_NONE) },
		[TZML_CMD_PING] = { "PING",
				    TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_OUTPUT,
						     TEEC_NONE, TEEC_NONE,
						     TEEC_NONE) },
		[TZML_CMD_SAVE] = { "SAVE",
				    TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT,
						     TEEC_MEMREF_TEMP_OUTPUT,
						     TEEC_VALUE_INPUT,
						     TEEC_VALUE_OUTPUT) },
		[TZML_CMD_SAVE_SEGMENT] = { "SAVE_SEGMENT",
					    TEEC_PARAM_TYPES(
						    TEEC_MEMREF_TEMP_OUTPUT,
						    TEEC_VALUE_OUTPUT,
						    TEEC_NONE, TEEC_NONE) },
		[TZML_CMD_CONFIRM] = { "CONFIRM",
				       TEEC_PARAM_TYPES(TEEC_NONE, TEEC_NONE,
							TEEC_NONE, TEEC_NONE) },
		[TZML_CMD_RESTORE] = { "RESTORE",
				       TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT,
							TEEC_VALUE_OUTPUT,
							TEEC_NONE, TEEC_NONE) },
		[TZML_CMD_RESTORE_SEGMENT] = { "RESTORE_SEGMENT",
					       TEEC_PARAM_TYPES(
						       TEEC_MEMREF_TEMP_INPUT,
						       TEEC_VALUE_OUTPUT,
						       TEEC_NONE, TEEC_NONE) },
		[TZML_CMD_CONTINUE_RECORD] = { "CONTINUE_RECORD",
					       TEEC_PARAM_TYPES(
						       TEEC_MEMREF_TEMP_OUTPUT,
						       TEEC_VALUE_OUTPUT,
						       TEEC_NONE, TEEC_NONE) },
		[TZML_CMD_RUN_BATCH] = { "RUN_BATCH",
					 TEEC_PARAM_TYPES(
						 TEEC_MEMREF_TEMP_INPUT,
						 TEEC_MEMREF_TEMP_OUTPUT,
						 TEEC_VALUE_INOUT, TEEC_NONE) },
		[TZML_CMD_CONTINUE_BATCH] = { "CONTINUE_BATCH",
					      TEEC_PARAM_TYPES(
						      TEEC_MEMREF_TEMP_INPUT,
						      TEEC_MEMREF_TEMP_OUTPUT,
						      TEEC_VALUE_OUTPUT,
						      TEEC_NONE) },
		[TZML_CMD_RUN_REQUEST] = { "RUN_REQUEST",
					   TEEC_PARAM_TYPES(
						   TEEC_MEMREF_TEMP_INPUT,
						   TEEC_MEMREF_TEMP_OUTPUT,
						   TEEC_VALUE_INOUT,
						   TEEC_MEMREF_TEMP_INPUT) },
	};
	const size_t kinds = sizeof(types) / sizeof(types[0]);
	uint8_t buffer[64] = { 0 };

	_Static_assert(sizeof(commands) / sizeof(commands[0]) == TZML_CMD_END,
		       "each command has its types here");
	for (size_t command = 0;
	     command < sizeof(commands) / sizeof(commands[0]); command++) {
		unsigned int wrong = 0;
		unsigned int tried = 0;

		for (size_t i = 0; i < kinds * kinds * kinds; i++) {
			uint32_t a = types[i % kinds];
			uint32_t b = types[i / kinds % kinds];
			uint32_t c = types[i / kinds / kinds];
			TEEC_Operation operation = { 0 };

			operation.paramTypes =
				TEEC_PARAM_TYPES(a, b, c, TEEC_NONE);
			if (operation.paramTypes == commands[command].types)
				continue;
			for (unsigned int p = 0; p < 3; p++) {
				uint32_t kind = TEEC_PARAM_TYPE_GET(
					operation.paramTypes, p);

				if (kind != TEEC_MEMREF_TEMP_INPUT &&
				    kind != TEEC_MEMREF_TEMP_OUTPUT)
					continue;
				operation.params[p].tmpref.buffer = buffer;
				operation.params[p].tmpref.size =
					sizeof(buffer);
			}
			tried++;
			wrong += TEEC_InvokeCommand(session, (uint32_t)command,
						    &operation, NULL) !=
				 (TEEC_Result)TZML_ERROR_REQUEST;
		}
		check(!wrong, "%s refuses %u other parameter types (%u not)",
		      commands[command].name, tried, wrong);
	}
	check(still_works(session), "and the session still works");
}

static void test_unknown_commands(TEEC_Session *session)
{
	static const uint32_t commands[] = { TZML_CMD_END, TZML_CMD_END + 1,
					     1U << 31, UINT32_MAX };
	TEEC_Operation operation = { 0 };

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		check(TEEC_InvokeCommand(session, commands[i], &operation,
					 NULL) ==
			      (TEEC_Result)TZML_ERROR_REQUEST,
		      "command %u is refused", commands[i]);
}

static void test_order(TEEC_Session *session)
{
	uint8_t outputs[4] = { 0 };
	uint32_t wanted = 0;

	/* an error closes the model, so each begins with a fresh one */
	open_model(session, "", 0, NULL);
	check(run(session, input.size, sizeof(outputs), outputs) ==
		      (TEEC_Result)TZML_ERROR_STATE,
	      "RUN without a model is refused");
	check(load(session, 0, 0, outputs, sizeof(outputs), NULL) ==
		      (TEEC_Result)TZML_ERROR_STATE,
	      "LOAD without a model is refused");
	check(continue_run(session, outputs, sizeof(outputs)) ==
		      (TEEC_Result)TZML_ERROR_STATE,
	      "CONTINUE without a model is refused");

	open_model(session, bundle.data, header()->header_size, &wanted);
	check(run(session, input.size, sizeof(outputs), outputs) ==
		      (TEEC_Result)TZML_ERROR_STATE,
	      "RUN of a half-loaded model is refused");
	check(load(session, wanted + 1, 0, outputs, sizeof(outputs), NULL) ==
		      (TEEC_Result)TZML_ERROR_LOAD_ORDER,
	      "another section than the one asked for is refused");

	open_model(session, bundle.data, header()->header_size, &wanted);
	check(load(session, wanted, 64, outputs, sizeof(outputs), NULL) ==
		      (TEEC_Result)TZML_ERROR_LOAD_ORDER,
	      "a piece that skips bytes is refused");

	open_model(session, bundle.data, header()->header_size, &wanted);
	check(load(session, wanted, 0, bundle.data, section(wanted)->size + 1,
		   NULL) == (TEEC_Result)TZML_ERROR_LOAD_ORDER,
	      "a piece past the section's end is refused");

	open_model(session, bundle.data, header()->header_size, &wanted);
	check(load(session, wanted, 0, bundle.data, 0, NULL) ==
		      (TEEC_Result)TZML_ERROR_LOAD_ORDER,
	      "an empty piece is refused");
	check(still_works(session), "and the session still works");
	check(continue_run(session, outputs, sizeof(outputs)) ==
		      (TEEC_Result)TZML_ERROR_STATE,
	      "CONTINUE after the end of a run is refused");
	check(load(session, 0, 0, outputs, sizeof(outputs), NULL) ==
		      (TEEC_Result)TZML_ERROR_STATE,
	      "LOAD into a model that is ready is refused");
}

static void test_sizes(TEEC_Session *session)
{
	size_t size = load_model(session);
	uint8_t *outputs = calloc(1, size + 64);
	TEEC_Operation operation = { 0 };
	uint8_t memory[sizeof(struct tzml_ta_memory) + 1] = { 0 };

	check(run(session, input.size - 1, size, outputs) ==
		      (TEEC_Result)TZML_ERROR_INPUT_SIZE,
	      "an input that is a byte short is refused");
	check(run(session, 0, size, outputs) ==
		      (TEEC_Result)TZML_ERROR_INPUT_SIZE,
	      "no input is refused");
	check(run(session, input.size, size - 1, outputs) ==
		      (TEEC_Result)TZML_ERROR_OUTPUT_SIZE,
	      "an output that is a byte short is refused");
	check(run(session, input.size, size + 64, outputs) ==
		      (TEEC_Result)TZML_ERROR_OUTPUT_SIZE,
	      "an output that is too long is refused");
	check(!run(session, input.size, size, outputs),
	      "and the right sizes still run");

	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE, TEEC_NONE);
	operation.params[0].tmpref.buffer = memory;
	operation.params[0].tmpref.size = sizeof(memory);
	check(TEEC_InvokeCommand(session, TZML_CMD_MEMORY, &operation, NULL) ==
		      (TEEC_Result)TZML_ERROR_REQUEST,
	      "MEMORY with room of another size is refused");

	check(describe(session, 0, (void *)memory, &operation, 8) ==
			      TEEC_ERROR_SHORT_BUFFER &&
		      operation.params[0].tmpref.size >=
			      2 * sizeof(struct tzml_ta_port),
	      "DESCRIBE with too little room says how much it takes");
	free(outputs);
}

static TEEC_Result run_request(TEEC_Session *session, void *id, size_t id_size,
			       void *outputs, size_t outputs_size)
{
	TEEC_Operation operation = { 0 };

	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_TEMP_INPUT, TEEC_MEMREF_TEMP_OUTPUT,
		TEEC_VALUE_INOUT, TEEC_MEMREF_TEMP_INPUT);
	operation.params[0].tmpref.buffer = input.data;
	operation.params[0].tmpref.size = input.size;
	operation.params[1].tmpref.buffer = outputs;
	operation.params[1].tmpref.size = outputs_size;
	operation.params[3].tmpref.buffer = id;
	operation.params[3].tmpref.size = id_size;
	return TEEC_InvokeCommand(session, TZML_CMD_RUN_REQUEST, &operation,
				  NULL);
}

static void test_requests(TEEC_Session *session)
{
	uint8_t id[TZML_REQUEST_SIZE + 1] = { 1 };
	size_t size = load_model(session);
	uint8_t *outputs = calloc(1, size);
	uint8_t *alone = calloc(1, size);

	check(!run(session, input.size, size, alone) &&
		      !run_request(session, id, TZML_REQUEST_SIZE, outputs,
				   size) &&
		      !memcmp(outputs, alone, size),
	      "a run with an id has the bits of one without");
	check(run_request(session, id, TZML_REQUEST_SIZE - 1, outputs, size) ==
			      (TEEC_Result)TZML_ERROR_REQUEST &&
		      run_request(session, id, sizeof(id), outputs, size) ==
			      (TEEC_Result)TZML_ERROR_REQUEST,
	      "an id of another size is refused");
	free(outputs);
	free(alone);
}

/* RUN_BATCH, or CONTINUE_BATCH with no samples said. */
static TEEC_Result run_samples(TEEC_Session *session, uint32_t command,
			       uint32_t samples, struct file inputs,
			       struct file outputs)
{
	TEEC_Operation operation = { 0 };
	bool begins = command == TZML_CMD_RUN_BATCH;

	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_TEMP_INPUT, TEEC_MEMREF_TEMP_OUTPUT,
		begins ? TEEC_VALUE_INOUT : TEEC_VALUE_OUTPUT, TEEC_NONE);
	operation.params[0].tmpref.buffer = inputs.data;
	operation.params[0].tmpref.size = inputs.size;
	operation.params[1].tmpref.buffer = outputs.data;
	operation.params[1].tmpref.size = outputs.size;
	operation.params[2].value.b = samples;
	return TEEC_InvokeCommand(session, command, &operation, NULL);
}

static void test_samples(TEEC_Session *session)
{
	const uint32_t counts[] = {
		0, 1, 2, 4, TZML_MAX_SAMPLES + 1, UINT32_MAX
	};
	size_t size = load_model(session);
	struct file inputs = { calloc(3, input.size), 3 * input.size };
	struct file outputs = { calloc(4, size), 3 * size };
	uint8_t *alone = calloc(1, size);
	unsigned int refused = 0;

	for (int i = 0; i < 3; i++)
		memcpy(inputs.data + i * input.size, input.data, input.size);
	check(!run(session, input.size, size, alone) &&
		      !run_samples(session, TZML_CMD_RUN_BATCH, 3, inputs,
				   outputs) &&
		      !memcmp(outputs.data, alone, size) &&
		      !memcmp(outputs.data + 2 * size, alone, size),
	      "samples that are run at once have the bits that each has alone");
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		refused += run_samples(session, TZML_CMD_RUN_BATCH, counts[i],
				       inputs, outputs) != TEEC_SUCCESS;
	check(refused == sizeof(counts) / sizeof(counts[0]),
	      "inputs and outputs of other counts of samples are refused");
	inputs.size--;
	check(run_samples(session, TZML_CMD_RUN_BATCH, 3, inputs, outputs) ==
		      (TEEC_Result)TZML_ERROR_INPUT_SIZE,
	      "inputs that are a byte short are refused");
	inputs.size++;
	outputs.size++;
	check(run_samples(session, TZML_CMD_RUN_BATCH, 3, inputs, outputs) ==
			      (TEEC_Result)TZML_ERROR_OUTPUT_SIZE &&
		      run_samples(session, TZML_CMD_CONTINUE_BATCH, 0, inputs,
				  outputs) ==
			      (TEEC_Result)TZML_ERROR_OUTPUT_SIZE,
	      "room for outputs of another size is refused, also to go on");
	outputs.size--;
	check(continue_run(session, alone, size) ==
		      (TEEC_Result)TZML_ERROR_STATE,
	      "CONTINUE does not go on with samples");
	check(!run_samples(session, TZML_CMD_CONTINUE_BATCH, 0, inputs,
			   outputs) &&
		      run_samples(session, TZML_CMD_CONTINUE_BATCH, 0, inputs,
				  outputs) == (TEEC_Result)TZML_ERROR_STATE,
	      "CONTINUE_BATCH does, to the end and not past it");
	check(!run(session, input.size, size, alone),
	      "and the session still runs one");
	free(inputs.data);
	free(outputs.data);
	free(alone);
}

/* SAVE with a note of so many bytes, and room for a header of so many. */
static TEEC_Result save(TEEC_Session *session, size_t note_size,
			size_t header_size, uint32_t flags)
{
	uint8_t note[TZML_NOTE_SIZE + 1] = { 0 };
	uint8_t header[sizeof(struct tzml_checkpoint) + 1] = { 0 };
	TEEC_Operation operation = { 0 };

	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_TEMP_INPUT, TEEC_MEMREF_TEMP_OUTPUT,
		TEEC_VALUE_INPUT, TEEC_VALUE_OUTPUT);
	operation.params[0].tmpref.buffer = note;
	operation.params[0].tmpref.size = note_size;
	operation.params[1].tmpref.buffer = header;
	operation.params[1].tmpref.size = header_size;
	operation.params[2].value.a = flags;
	return TEEC_InvokeCommand(session, TZML_CMD_SAVE, &operation, NULL);
}

/* lab/test_checkpoints.py has those of models that have state. */
static void test_checkpoints(TEEC_Session *session)
{
	const size_t size = sizeof(struct tzml_checkpoint);
	TEEC_Operation operation = { 0 };

	check(save(session, TZML_NOTE_SIZE, size, 0) ==
		      (TEEC_Result)TZML_ERROR_STATELESS,
	      "a model without state is not saved");
	check(save(session, TZML_NOTE_SIZE - 1, size, 0) ==
			      (TEEC_Result)TZML_ERROR_REQUEST &&
		      save(session, TZML_NOTE_SIZE, size - 1, 0) ==
			      (TEEC_Result)TZML_ERROR_REQUEST &&
		      save(session, TZML_NOTE_SIZE, size + 1, 0) ==
			      (TEEC_Result)TZML_ERROR_REQUEST &&
		      save(session, TZML_NOTE_SIZE, size, 4) ==
			      (TEEC_Result)TZML_ERROR_REQUEST,
	      "SAVE with other sizes or flags is refused");
	check(TEEC_InvokeCommand(session, TZML_CMD_CONFIRM, &operation, NULL) ==
		      TEEC_SUCCESS,
	      "nothing is counted of a clear model, and nothing confirmed");
	check(still_works(session), "and the session still works");
}

/* What the TA says of itself, in `room` bytes. */
static TEEC_Result ping(TEEC_Session *session, void *info, size_t *room)
{
	TEEC_Operation operation = { 0 };
	TEEC_Result result = TEEC_SUCCESS;

	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE, TEEC_NONE);
	operation.params[0].tmpref.buffer = info;
	operation.params[0].tmpref.size = *room;
	result = TEEC_InvokeCommand(session, TZML_CMD_PING, &operation, NULL);
	*room = operation.params[0].tmpref.size;
	return result;
}

static void test_ping(TEEC_Session *session)
{
	struct tzml_ta_info info[2] = { 0 };
	size_t room = sizeof(info);

	check(!ping(session, info, &room) && room == sizeof(*info) &&
		      info->protocol == TZML_TA_PROTOCOL &&
		      info->format_version == TZML_FORMAT_VERSION &&
		      info->kernel_abi == TZML_KERNEL_ABI &&
		      info->features ==
			      (TZML_TA_FEATURE_LIBRARIES |
			       TZML_TA_FEATURE_CHECKPOINTS |
			       TZML_TA_FEATURE_CLEAR | TZML_TA_FEATURE_STAGES |
			       TZML_TA_FEATURE_BATCHES |
			       TZML_TA_FEATURE_REQUESTS) &&
		      info->max_programs == TZML_MAX_PROGRAMS,
	      "PING says what the TA is");
	memset(info, 0, sizeof(info));
	room = sizeof(uint32_t);
	check(!ping(session, info, &room) && room == sizeof(uint32_t) &&
		      info->protocol == TZML_TA_PROTOCOL && !info->ta_version,
	      "an older client gets the start of it, and nothing behind");
}

static void test_programs(TEEC_Session *session)
{
	static const uint32_t programs[] = { 1, TZML_MAX_PROGRAMS - 1,
					     TZML_MAX_PROGRAMS, UINT32_MAX };
	struct tzml_ta_port ports[2 * TZML_MAX_PORTS] = { 0 };
	size_t size = load_model(session);
	uint8_t *outputs = calloc(1, size);
	TEEC_Operation operation = { 0 };

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		check(run_program(session, programs[i], input.size, size,
				  outputs) == (TEEC_Result)TZML_ERROR_PROGRAM,
		      "program %u, which there is not, cannot be run",
		      programs[i]);
		check(describe(session, programs[i], ports, &operation,
			       sizeof(ports)) ==
			      (TEEC_Result)TZML_ERROR_PROGRAM,
		      "nor described");
	}
	check(!run(session, input.size, size, outputs), "program 0 can");
	free(outputs);
}

static void test_reset(TEEC_Session *session)
{
	uint32_t wanted = 0;
	size_t size = 0;
	uint8_t *outputs = NULL;

	open_model(session, "", 0, NULL);
	check(reset(session, NULL) == (TEEC_Result)TZML_ERROR_STATE,
	      "RESET without a model is refused");
	open_model(session, bundle.data, header()->header_size, &wanted);
	check(reset(session, NULL) == (TEEC_Result)TZML_ERROR_STATE,
	      "RESET of a half-loaded model is refused");
	size = load_model(session);
	outputs = calloc(1, size);
	check(!reset(session, &wanted) && wanted == TZML_TA_READY &&
		      !run(session, input.size, size, outputs),
	      "a model without state runs after RESET");
	free(outputs);
}

static void test_headers(TEEC_Session *session)
{
	uint8_t *copy = malloc(header()->header_size);

	check(open_model(session, bundle.data, 10, NULL) ==
		      (TEEC_Result)TZML_ERROR_TRUNCATED,
	      "a header of 10 bytes is refused");
	check(open_model(session, bundle.data, header()->header_size - 1,
			 NULL) == (TEEC_Result)TZML_ERROR_TRUNCATED,
	      "a header that is a byte short is refused");
	memcpy(copy, bundle.data, header()->header_size);
	copy[48] ^= 1;
	check(open_model(session, copy, header()->header_size, NULL) ==
		      (TEEC_Result)TZML_ERROR_HEADER_DIGEST,
	      "a flipped bit in the header is refused");
	check(still_works(session), "and the session still works");
	free(copy);
}

static void test_sessions(void)
{
	TEEC_Session sessions[3] = { 0 };
	bool good = true;

	for (int i = 0; i < 3; i++)
		open_session(sessions + i);
	good = still_works(sessions) && still_works(sessions + 1);
	/* the third is closed while it is half loaded */
	open_model(sessions + 2, bundle.data, header()->header_size, NULL);
	TEEC_CloseSession(sessions + 2);
	check(good && still_works(sessions) && still_works(sessions + 1),
	      "sessions do not disturb each other");
	TEEC_CloseSession(sessions);
	TEEC_CloseSession(sessions + 1);
}

/* Clients that open the model again and again, at the same time. */
static void test_concurrent_opening(void)
{
	pid_t clients[3] = { 0 };
	bool good = true;

	for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
		clients[i] = fork();
		if (clients[i] < 0)
			err(1, "fork");
		if (clients[i])
			continue;
		if (TEEC_InitializeContext(NULL, &context))
			_exit(1);
		for (int turn = 0; good && turn < 10; turn++) {
			TEEC_Session session = { 0 };

			open_session(&session);
			good = still_works(&session);
			TEEC_CloseSession(&session);
		}
		_exit(!good);
	}
	for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
		int status = 0;

		good &= waitpid(clients[i], &status, 0) == clients[i] &&
			!status;
	}
	check(good, "clients that open the model at once all get it");
}

/* Load a bundle, perhaps with its kernel library even if that is installed. */
static TEEC_Result load_file(TEEC_Session *session, const struct file *file,
			     uint32_t flags)
{
	const struct tzml_header *head = (const void *)file->data;
	const struct tzml_section *sections = (const void *)(head + 1);
	TEEC_Operation operation = { 0 };
	TEEC_Result result = TEEC_SUCCESS;
	uint32_t wanted = 0;

	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT, TEEC_VALUE_INPUT,
				 TEEC_VALUE_OUTPUT, TEEC_NONE);
	operation.params[0].tmpref.buffer = file->data;
	operation.params[0].tmpref.size = head->header_size;
	operation.params[1].value.a = flags;
	result = TEEC_InvokeCommand(session, TZML_CMD_OPEN, &operation, NULL);
	wanted = operation.params[2].value.a;
	while (!result && wanted != TZML_TA_READY)
		result = load(session, wanted, 0,
			      file->data + sections[wanted].offset,
			      sections[wanted].size, &wanted);
	return result;
}

static TEEC_Result install(TEEC_Session *session, const struct file *file)
{
	return load_file(session, file, TZML_OPEN_REINSTALL);
}

/* The installed libraries; returns how many there are, or SIZE_MAX. */
static size_t list(TEEC_Session *session, struct tzml_ta_library *libraries,
		   size_t room)
{
	TEEC_Operation operation = { 0 };
	TEEC_Result result = TEEC_SUCCESS;

	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE, TEEC_NONE);
	operation.params[0].tmpref.buffer = libraries;
	operation.params[0].tmpref.size = room * sizeof(*libraries);
	result = TEEC_InvokeCommand(session, TZML_CMD_LIBRARIES, &operation,
				    NULL);
	if (result && result != TEEC_ERROR_SHORT_BUFFER)
		return SIZE_MAX;
	return operation.params[0].tmpref.size / sizeof(*libraries);
}

static TEEC_Result remove_library(TEEC_Session *session, const void *uuid,
				  size_t size)
{
	TEEC_Operation operation = { 0 };

	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_TEMP_INPUT, TEEC_NONE, TEEC_NONE, TEEC_NONE);
	operation.params[0].tmpref.buffer = (void *)uuid;
	operation.params[0].tmpref.size = size;
	return TEEC_InvokeCommand(session, TZML_CMD_REMOVE_LIBRARY, &operation,
				  NULL);
}

#define ROOM 64

static void test_libraries(TEEC_Session *session)
{
	const TEEC_UUID manager = { 0x6e256cba,
				    0xfc4d,
				    0x4941,
				    { 0xad, 0x09, 0x2c, 0xa1, 0x86, 0x03, 0x42,
				      0xdd } };
	struct tzml_ta_library libraries[ROOM] = { 0 };
	TEEC_Session direct = { 0 };
	size_t found = 0;
	bool removed = true;

	still_works(session);
	found = list(session, libraries, ROOM);
	check(found && found <= ROOM, "LIBRARIES lists %zu", found);
	check(list(session, libraries, 0) == found,
	      "with no room it says how many there are");
	check(remove_library(session, libraries[0].uuid, 15) ==
		      (TEEC_Result)TZML_ERROR_REQUEST,
	      "a UUID of 15 bytes is refused");
	check(remove_library(session, "no such library", 16) ==
		      (TEEC_Result)TZML_ERROR_NO_LIBRARY,
	      "a library that is not installed cannot be removed");
	check(TEEC_OpenSession(&context, &direct, &manager, TEEC_LOGIN_PUBLIC,
			       NULL, NULL, NULL) == TEEC_ERROR_ITEM_NOT_FOUND,
	      "the installer is not there for the normal world");
	for (size_t i = 0; i < found && i < ROOM; i++)
		removed &= !remove_library(session, libraries[i].uuid,
					   sizeof(libraries[i].uuid));
	check(removed && !list(session, libraries, ROOM),
	      "all can be removed, while one is open");
	check(still_works(session) && list(session, libraries, ROOM) == 1,
	      "a bundle brings its library again");
}

/* Remove the library of version 1, and see that version 0 stays away. */
static void test_removed_version(TEEC_Session *session,
				 const struct file *newer,
				 const struct file *older)
{
	struct tzml_ta_library libraries[ROOM] = { 0 };
	size_t found = list(session, libraries, ROOM);
	size_t removed = 0;

	for (size_t i = 0; i < found && i < ROOM; i++)
		if (libraries[i].version == 1)
			removed += !remove_library(session, libraries[i].uuid,
						   sizeof(libraries[i].uuid));
	check(removed == 1 && list(session, libraries, ROOM) == found - 1,
	      "version 1 is removed");
	check(install(session, older) == (TEEC_Result)TZML_ERROR_KERNELS_OLD,
	      "its version 0 is refused all the same");
	check(!install(session, newer), "version 1 installs again");
}

/* The size of the library of version 1, of which one is installed. */
static uint32_t size_of_newer(TEEC_Session *session)
{
	struct tzml_ta_library libraries[ROOM] = { 0 };
	size_t found = list(session, libraries, ROOM);

	for (size_t i = 0; i < found && i < ROOM; i++)
		if (libraries[i].version == 1)
			return libraries[i].size;
	return 0;
}

/*
 * Two signed images of one name and version: what is mapped is what the bundle
 * brings, not what another bundle, perhaps under another key, left there.
 */
static void test_twins(TEEC_Session *session, const struct file *newer,
		       const struct file *twin)
{
	uint32_t size = size_of_newer(session);

	check(size && !load_file(session, twin, 0) &&
		      size_of_newer(session) == size + 1,
	      "a library replaces one of the same name that is not the same");
	check(!load_file(session, newer, 0) && size_of_newer(session) == size,
	      "and is replaced by it");
}

/* What a thread writes to all the time, while the TA reads it. */
static struct {
	uint8_t *data;
	size_t size;
	atomic_bool stop;
} rewritten;

static void *rewrite(void *unused)
{
	(void)unused;
	for (size_t i = 0; !atomic_load(&rewritten.stop); i++) {
		volatile uint8_t *byte = rewritten.data + i % rewritten.size;

		*byte ^= 0xff;
		*byte ^= 0xff;
	}
	return NULL;
}

/* Of a header or section that is not what its digest says. */
static bool is_of_content(TEEC_Result result)
{
	switch ((enum tzml_status)result) {
	case TZML_ERROR_FORMAT_OLD:
	case TZML_ERROR_FORMAT_VERSION:
	case TZML_ERROR_HEADER_DIGEST:
	case TZML_ERROR_HEADER_MALFORMED:
	case TZML_ERROR_LIMIT:
	case TZML_ERROR_NOT_A_BUNDLE:
	case TZML_ERROR_SECTION_DIGEST:
	case TZML_ERROR_TRUNCATED:
		return true;
	default:
		return false;
	}
}

/*
 * Open the model from shared memory that another thread rewrites: it opens as
 * it is, or is refused; a byte that was checked is never another one later.
 */
static void test_rewritten_memory(TEEC_Session *session)
{
	TEEC_SharedMemory shared = { .size = bundle.size,
				     .flags = TEEC_MEM_INPUT };
	unsigned int opened = 0;
	unsigned int refused = 0;
	unsigned int other = 0;
	pthread_t thread = { 0 };

	if (TEEC_AllocateSharedMemory(&context, &shared))
		errx(1, "no shared memory");
	memcpy(shared.buffer, bundle.data, bundle.size);
	rewritten.data = shared.buffer;
	rewritten.size = bundle.size;
	if (pthread_create(&thread, NULL, rewrite, NULL))
		errx(1, "no thread");
	for (int turn = 0; turn < 20; turn++) {
		uint32_t wanted = 0;
		TEEC_Result result = open_model(session, shared.buffer,
						header()->header_size, &wanted);

		while (!result && wanted != TZML_TA_READY)
			result = load(session, wanted, 0,
				      (uint8_t *)shared.buffer +
					      section(wanted)->offset,
				      section(wanted)->size, &wanted);
		if (!result)
			opened++;
		else if (is_of_content(result))
			refused++;
		else
			other++;
	}
	atomic_store(&rewritten.stop, true);
	pthread_join(thread, NULL);
	TEEC_ReleaseSharedMemory(&shared);
	check(!other && still_works(session),
	      "memory that a thread rewrites: opened %u times, refused %u, "
	      "otherwise %u",
	      opened, refused, other);
}

static void test_versions(const char *newer_path, const char *older_path,
			  const char *twin_path)
{
	struct file twin = read_file(twin_path);
	struct file newer = read_file(newer_path);
	struct file older = read_file(older_path);
	TEEC_Session session = { 0 };

	open_session(&session);
	check(!install(&session, &newer), "a library of version 1 installs");
	check(install(&session, &older) == (TEEC_Result)TZML_ERROR_KERNELS_OLD,
	      "its version 0 is refused after that");
	test_removed_version(&session, &newer, &older);
	test_twins(&session, &newer, &twin);
	check(still_works(&session), "and the session still works");
	TEEC_CloseSession(&session);
	free(twin.data);
	free(newer.data);
	free(older.data);
}

int main(int argc, char **argv)
{
	TEEC_Session session = { 0 };

	if (argc != 3 && argc != 6)
		errx(2, "usage: tzml-ta-test BUNDLE INPUT [NEWER OLDER TWIN]");
	bundle = read_file(argv[1]);
	input = read_file(argv[2]);
	if (TEEC_InitializeContext(NULL, &context))
		errx(1, "there is no TEE: /dev/tee0");

	open_session(&session);
	check(still_works(&session), "the sound bundle loads and runs");
	test_ping(&session);
	test_parameter_types(&session);
	test_unknown_commands(&session);
	test_order(&session);
	test_sizes(&session);
	test_requests(&session);
	test_samples(&session);
	test_programs(&session);
	test_reset(&session);
	test_checkpoints(&session);
	test_headers(&session);
	test_libraries(&session);
	test_rewritten_memory(&session);
	TEEC_CloseSession(&session);
	test_sessions();
	test_concurrent_opening();
	if (argc == 6)
		test_versions(argv[3], argv[4], argv[5]);

	printf("1..%u\n", count);
	TEEC_FinalizeContext(&context);
	return failures ? 1 : 0;
}

// SPDX-License-Identifier: Apache-2.0
/*
 * test_stage_checks FOLDER: what a stage says of a release and of a record,
 * field by field, though an owner signed it, and a client sealed it. FOLDER has
 * the specification's examples. Prints one TAP line a check, and exits 0 if all
 * passed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "example_kernels.h"
#include "pipeline_device.h"
#include "tap.h"
#include "test_crypto.h"

/* A field with another value, and what is said of it. */
struct change {
	const char *what;
	size_t offset;
	size_t size;
	uint64_t value;
	enum tzml_status status;
};

#define FIELD(type, name) offsetof(type, name), sizeof(((type *)NULL)->name)
#define RELEASE(name)	  FIELD(struct tzml_release, name)
#define RECORD(name)	  FIELD(struct tzml_record, name)

static struct file with(const struct file *file, const struct change *change)
{
	struct file changed = *file;
	size_t size = change->size < 8 ? change->size : 8;

	memcpy(changed.data + change->offset, &change->value, size);
	return changed;
}

/* With a model, before its release. */
static void open_loaded(struct device *d, int number)
{
	device_open(d, number);
	if (device_begin(d) || device_open_bundle(d))
		abort();
}

static void open_ready(struct device *d, int number)
{
	if (device_get_ready(d, number))
		abort();
}

/* The status for a release of an owner who signs everything. */
static enum tzml_status status_of_release(const struct change *change)
{
	struct file changed = with(releases, change);
	enum tzml_status status = TZML_SUCCESS;
	struct device d;

	open_loaded(&d, 0);
	d.context.trusting = true;
	status = device_join_with(&d, &changed);
	device_close(&d);
	return status;
}

static void test_release_fields(void)
{
	static const struct change changes[] = {
		{ "another magic", RELEASE(magic), 1,
		  TZML_ERROR_RELEASE_MALFORMED },
		{ "another version", RELEASE(format_version), 3,
		  TZML_ERROR_RELEASE_MALFORMED },
		{ "more that is required", RELEASE(required), 1,
		  TZML_ERROR_UNSUPPORTED },
		{ "no stages", RELEASE(stage_count), 0,
		  TZML_ERROR_RELEASE_MALFORMED },
		{ "as many stages as there may be", RELEASE(stage_count),
		  TZML_MAX_STAGES, TZML_SUCCESS },
		{ "more stages", RELEASE(stage_count), TZML_MAX_STAGES + 1,
		  TZML_ERROR_RELEASE_MALFORMED },
		{ "the last stage", RELEASE(stage), 1, TZML_SUCCESS },
		{ "a stage behind it", RELEASE(stage), 2,
		  TZML_ERROR_RELEASE_MALFORMED },
		{ "the last epoch", RELEASE(epoch), UINT64_MAX - 1,
		  TZML_SUCCESS },
		{ "an epoch that has no next", RELEASE(epoch), UINT64_MAX,
		  TZML_ERROR_RELEASE_MALFORMED },
		{ "a reserved field", RELEASE(reserved), 1,
		  TZML_ERROR_RELEASE_MALFORMED },
		{ "a reserved byte", RELEASE(reserved1), 1,
		  TZML_ERROR_RELEASE_MALFORMED },
		{ "another session", RELEASE(session), 1,
		  TZML_ERROR_RELEASE_OTHER },
		{ "another bundle", RELEASE(bundle_digest), 1,
		  TZML_ERROR_RELEASE_OTHER },
		{ "another owner", RELEASE(owner), 1,
		  TZML_ERROR_RELEASE_OTHER },
		{ "a program that is not there", RELEASE(program), 1,
		  TZML_ERROR_PROGRAM },
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		check(status_of_release(changes + i) == changes[i].status,
		      "a release with %s: %s", changes[i].what,
		      test_status_name(changes[i].status));
}

static void test_release(void)
{
	static const struct change next_epoch = { "", RELEASE(epoch), 8, 0 };
	static const struct change other_owner = { "", RELEASE(owner), 1, 0 };
	struct file changed = releases[0];
	struct device d;

	open_loaded(&d, 0);
	changed.size--;
	check(device_join_with(&d, &changed) == TZML_ERROR_RELEASE_MALFORMED,
	      "a release that was cut");
	changed.size += 2;
	check(device_join_with(&d, &changed) == TZML_ERROR_RELEASE_MALFORMED,
	      "a release with more behind it");
	d.context.knows_no_owner = true;
	check(device_join(&d) == TZML_ERROR_OWNER_UNKNOWN,
	      "a release of an owner that the device does not know");
	d.context.knows_no_owner = false;
	d.context.trusting = true;
	changed = with(releases, &next_epoch);
	check(!device_join(&d) && device_join(&d) == TZML_ERROR_RELEASE_OLD &&
		      !device_join_with(&d, &changed),
	      "the next epoch is the first that is taken again");
	memset(((struct tzml_header *)d.model.header.data)->owner, 0,
	       TZML_KEY_SIZE);
	tzml_stage_close(&d.stage);
	changed = with(releases, &other_owner);
	check(!device_begin(&d) && !device_join_with(&d, &changed),
	      "a bundle that nobody signed is any owner's");
	device_close(&d);
}

/* A program that gets other outputs from the same record is none for a stage. */
static void test_program(void)
{
	struct tzml_program *program = NULL;
	struct tzml_tensor *tensors = NULL;
	struct device d;

	open_loaded(&d, 0);
	program = (struct tzml_program *)d.model.interface.programs;
	tensors = (struct tzml_tensor *)d.model.interface.tensors;
	d.model.plans[0].writes_state = true;
	check(device_join(&d) == TZML_ERROR_STAGE_PROGRAM,
	      "a program that changes state");
	d.model.plans[0].writes_state = false;
	tensors[0].flags = TZML_TENSOR_RANDOM;
	check(device_join(&d) == TZML_ERROR_STAGE_PROGRAM,
	      "a program that draws random numbers");
	tensors[0].flags = TZML_TENSOR_INPUT;
	tensors[1].flags = TZML_TENSOR_RANDOM;
	program->input_count = 2;
	check(device_join(&d) == TZML_ERROR_STAGE_PROGRAM,
	      "a program that draws them for its second input");
	device_close(&d);
}

static void test_sizes(void)
{
	struct device d;

	open_loaded(&d, 0);
	d.context.limit = d.context.allocated;
	d.model.plans[0].inputs_size = TZML_MAX_SEALED_SIZE;
	check(device_join(&d) == TZML_ERROR_LIMIT,
	      "inputs that are too large to be sealed");
	d.model.plans[0].inputs_size--;
	check(device_join(&d) == TZML_ERROR_MEMORY,
	      "the largest that are not, but for the memory");
	device_close(&d);
}

/* The tests' cryptography, of which a test replaces a function. */
static struct tzml_crypto crypto;
static struct tzml_platform platform;

static void replace_crypto(struct device *d)
{
	crypto = test_crypto;
	platform = test_platform;
	platform.crypto = &crypto;
	d->stage.platform = &platform;
}

static enum tzml_status signed_by_anyone(void *context, const uint8_t *key,
					 const uint8_t *digest,
					 const uint8_t *signature)
{
	(void)context;
	(void)key;
	(void)digest;
	(void)signature;
	return TZML_SUCCESS;
}

/* A client's secret is all that does not open. */
static enum tzml_status open_payloads(void *context, const uint8_t *key,
				      const uint8_t *nonce, const void *aad,
				      size_t aad_size, void *data, size_t size,
				      const uint8_t *tag)
{
	(void)context;
	(void)key;
	(void)nonce;
	(void)aad;
	(void)aad_size;
	(void)data;
	(void)tag;
	return size == TZML_SECRET_SIZE ? TZML_ERROR_SECTION_DIGEST
					: TZML_SUCCESS;
}

static void test_secrets(void)
{
	static const struct change wrapped = { "", RELEASE(wrapped), 1, 0 };
	static const struct change enc = { "", RELEASE(enc), 4, 0 };
	struct file changed = with(releases, &wrapped);
	struct device d;

	open_loaded(&d, 0);
	replace_crypto(&d);
	crypto.verify = signed_by_anyone;
	check(device_join_with(&d, &changed) == TZML_ERROR_RELEASE_MALFORMED,
	      "secrets that the owner signed, and that do not open");
	changed = with(releases, &enc);
	check(device_join_with(&d, &changed) == TZML_ERROR_RELEASE_MALFORMED,
	      "a key of theirs that is not on the curve");
	if (device_join(&d))
		abort();
	d.context.trusting = true;
	crypto.unseal = open_payloads;
	check(device_start_with(&d, records) == TZML_ERROR_RECORD_TAG,
	      "a client's secret that does not open, whatever is sealed with it");
	device_close(&d);
}

static void test_record_fields(void)
{
	static const struct change changes[] = {
		{ "another magic", RECORD(magic), 1,
		  TZML_ERROR_RECORD_MALFORMED },
		{ "another version", RECORD(format_version), 3,
		  TZML_ERROR_RECORD_MALFORMED },
		{ "a reserved field", RECORD(reserved), 1,
		  TZML_ERROR_RECORD_MALFORMED },
		{ "a reserved byte", RECORD(reserved1), 1,
		  TZML_ERROR_RECORD_MALFORMED },
		{ "more that is required", RECORD(required), 1,
		  TZML_ERROR_UNSUPPORTED },
		{ "another pipeline", RECORD(pipeline), 1,
		  TZML_ERROR_RECORD_OTHER },
		{ "another stage", RECORD(edge), 0, TZML_ERROR_RECORD_OTHER },
		{ "another epoch", RECORD(epoch), 8, TZML_ERROR_RECORD_EPOCH },
		{ "another size", RECORD(size), UINT64_MAX,
		  TZML_ERROR_RECORD_MALFORMED },
		{ "a client's key behind the first stage", RECORD(enc), 1,
		  TZML_ERROR_RECORD_MALFORMED },
		{ "a client's secret there", RECORD(wrapped), 1,
		  TZML_ERROR_RECORD_MALFORMED },
		{ "another request", RECORD(request), 1,
		  TZML_ERROR_RECORD_TAG },
	};
	struct file changed;
	struct device d;

	open_ready(&d, 1);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		changed = with(records + 1, changes + i);
		check(device_start_with(&d, &changed) == changes[i].status,
		      "a record with %s: %s", changes[i].what,
		      test_status_name(changes[i].status));
	}
	changed = records[1];
	changed.data[300] ^= 1;
	check(device_start_with(&d, &changed) == TZML_ERROR_RECORD_TAG,
	      "a record with another payload");
	changed.size++;
	check(device_start_with(&d, &changed) == TZML_ERROR_RECORD_MALFORMED,
	      "a record with more behind it");
	changed = records[0];
	changed.size = sizeof(struct tzml_record);
	check(device_start_with(&d, &changed) == TZML_ERROR_RECORD_OTHER,
	      "a header by itself is read");
	changed.size--;
	check(device_start_with(&d, &changed) == TZML_ERROR_RECORD_MALFORMED,
	      "a part of it is not");
	device_close(&d);
	open_ready(&d, 0);
	changed = records[0];
	memset(changed.data + offsetof(struct tzml_record, enc) + 1, 7, 64);
	check(device_start_with(&d, &changed) == TZML_ERROR_RECORD_TAG,
	      "a client's key that is not on the curve");
	device_close(&d);
}

/* How many calls of cryptography a record of that client takes. */
static uint32_t calls_for(struct device *d, uint32_t client)
{
	const struct change wrapped = { "", RECORD(wrapped), client, 0 };
	struct file record = with(records, &wrapped);

	d->context.seals_left = NEVER - 1;
	if (device_start_with(d, &record))
		abort();
	return NEVER - 1 - d->context.seals_left;
}

static void test_clients(void)
{
	uint32_t wrong = 0;
	uint32_t opened = 0;
	uint32_t known = 0;
	struct device d;

	open_ready(&d, 0);
	d.context.trusting = true;
	opened = calls_for(&d, 0);
	known = calls_for(&d, 0);
	for (uint32_t i = 1; i < TZML_KNOWN_CLIENTS; i++)
		wrong += calls_for(&d, i) != opened;
	check(known < opened && !wrong, "a client's secret is opened");
	for (uint32_t i = 0; i < TZML_KNOWN_CLIENTS; i++)
		wrong += calls_for(&d, i) != known;
	check(!wrong, "but once, of as many clients as are known");
	wrong += calls_for(&d, TZML_KNOWN_CLIENTS) != opened;
	for (uint32_t i = 1; i <= TZML_KNOWN_CLIENTS; i++)
		wrong += calls_for(&d, i) != known;
	check(!wrong && calls_for(&d, 0) == opened,
	      "another one takes the place of the first");
	device_close(&d);
}

static void test_runs(void)
{
	struct device d;

	open_loaded(&d, 0);
	check(tzml_stage_continue(&d.stage, &d.model, d.given, 1) ==
		      TZML_ERROR_NOT_RELEASED,
	      "nothing goes on without a release");
	device_close(&d);
	open_ready(&d, 0);
	if (device_start_with(&d, records))
		abort();
	example_kernels_fail = 1;
	check(device_go_on(&d) == TZML_ERROR_KERNEL_FAILED,
	      "a kernel that fails gives no record");
	example_kernels_fail = 0;
	((struct tzml_header *)d.model.header.data)
		->digest[TZML_DIGEST_SIZE - 1] ^= 1;
	check(device_start_with(&d, records) == TZML_ERROR_STATE,
	      "nor does a model of another bundle");
	device_close(&d);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: test_stage_checks FOLDER\n", stderr);
		return 2;
	}
	device_read_files(argv[1]);
	test_release_fields();
	test_release();
	test_program();
	test_sizes();
	test_secrets();
	test_record_fields();
	test_clients();
	test_runs();
	return tap_end();
}

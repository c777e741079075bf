// SPDX-License-Identifier: Apache-2.0
/*
 * test_checks FOLDER: the checks of the runtime, each by itself: all text,
 * headers at the edges of what the format allows, every section of the
 * specification's examples in FOLDER, and what was written of the arena. Exits
 * 0 if all passed.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml/bundle.h>
#include <tzml/plan.h>

#include "../../runtime/check.h"
#include "../../runtime/written.h"
#include "example_kernels.h"
#include "tap.h"
#include "test_platform.h"

/* The largest character that so many bytes have room for, and one more. */
static const uint32_t limits[] = { 0, 0x80, 0x800, 0x10000, 0x200000 };

/* UTF-8, as its definition has it, in so many bytes. */
static void encode(uint32_t character, int size, char *bytes)
{
	static const uint8_t marks[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (int i = size - 1; i > 0; i--) {
		bytes[i] = (char)(0x80 | (character & 0x3f));
		character >>= 6;
	}
	bytes[0] = (char)(marks[size] | character);
}

static bool can_be_shown(uint32_t character, int size)
{
	bool shortest = size == 1 || character >= limits[size - 1];
	bool is_control =
		character < 0x20 || (character >= 0x7f && character < 0xa0);
	bool is_surrogate = character >= 0xd800 && character < 0xe000;

	return shortest && !is_control && !is_surrogate && character < 0x110000;
}

/* Every number that fits, in any size; in the middle of other text, too. */
static void test_characters(void)
{
	for (int size = 1; size <= 4; size++) {
		unsigned int wrong = 0;

		for (uint32_t character = 0; character < limits[size];
		     character++) {
			bool expected = can_be_shown(character, size);
			char text[] = "xxxxxx";

			encode(character, size, text + 1);
			wrong += is_printable(text + 1, (size_t)size) !=
				 expected;
			wrong += is_printable(text, (size_t)size + 2) !=
				 expected;
		}
		check(!wrong, "%d bytes of text: %u wrong", size, wrong);
	}
}

/* What is no character at all: bytes out of place. */
static void test_broken_text(void)
{
	static const uint32_t letters[] = { 0, 'a', 0xe9, 0x20ac, 0x1f642 };
	unsigned int wrong = 0;

	for (int size = 2; size <= 4; size++)
		for (int at = 0; at < size; at++)
			for (int byte = 0; byte < 256; byte++) {
				char text[] = "xxxxxx";
				bool is_next = byte >= 0x80 && byte < 0xc0;

				encode(letters[size], size, text);
				text[at] = (char)byte;
				if (at ? is_next : byte >= 0xc0)
					continue;
				wrong += is_printable(text, (size_t)size);
			}
	for (int size = 2; size <= 4; size++)
		for (int left = 1; left < size; left++) {
			/* a block of its own, so that reading on shows */
			char *text = malloc((size_t)left);
			char whole[4] = "";

			encode(letters[size], size, whole);
			memcpy(text, whole, (size_t)left);
			wrong += is_printable(text, (size_t)left);
			free(text);
		}
	for (int byte = 0xf5; byte < 256; byte++) {
		char text[] = { (char)byte, (char)0x80, (char)0x80,
				(char)0x80 };

		wrong += is_printable(text, sizeof(text));
	}
	check(!wrong, "broken text: %u taken", wrong);
}

/* A header with a section table, whose sections lie one behind the other. */
struct table {
	struct tzml_header header;
	struct tzml_section sections[TZML_MAX_SECTIONS + 1];
};

static struct tzml_section *add_section(struct table *table,
					enum tzml_section_type type,
					uint32_t index, uint8_t worlds,
					uint64_t size)
{
	struct tzml_section *section =
		table->sections + table->header.section_count++;

	*section = (struct tzml_section){
		.type = type,
		.index = index,
		.worlds = worlds,
		.flags = type != TZML_SECTION_METADATA &&
			 type != TZML_SECTION_NOTES,
		.size = size,
	};
	return section;
}

static enum tzml_status check_table(struct table *table)
{
	struct tzml_header *header = &table->header;
	uint64_t end = sizeof(*header) +
		       header->section_count * sizeof(struct tzml_section);

	header->header_size = (uint32_t)end;
	for (uint32_t i = 0; i < header->section_count; i++) {
		table->sections[i].offset = tzml_align(end);
		end = table->sections[i].offset + table->sections[i].size;
	}
	header->bundle_size = end;
	return tzml_bundle_check(header, header->header_size);
}

static struct table *new_table(void)
{
	struct table *table = calloc(1, sizeof(*table));

	memcpy(table->header.magic, TZML_MAGIC, sizeof(table->header.magic));
	table->header.format_version = TZML_FORMAT_VERSION;
	table->header.kernel_abi = TZML_KERNEL_ABI;
	add_section(table, TZML_SECTION_INTERFACE, 0, TZML_IN_BOTH, 1);
	return table;
}

/* What docs/bundle.md, "Section table", says of each type. */
static const struct {
	enum tzml_section_type type;
	uint32_t indices;
	uint64_t size;
	uint8_t worlds[4]; /* those that it may be for */
} types[] = {
	{ TZML_SECTION_INTERFACE, 1, 512 << 10, { 3 } },
	{ TZML_SECTION_MEMORY, 2, 1 << 20, { 1, 2, 3 } },
	{ TZML_SECTION_PLAN, 16, 1 << 20, { 1, 2, 3 } },
	{ TZML_SECTION_KERNELS, 16, 16 << 20, { 1, 2 } },
	{ TZML_SECTION_METADATA, 1, 16 << 20, { 3 } },
	{ TZML_SECTION_NOTES, 1, 16 << 20, { 3 } },
	{ TZML_SECTION_STATE, 1023, UINT64_C(1) << 32, { 1, 2, 3 } },
	{ TZML_SECTION_WEIGHTS, 1023, UINT64_C(1) << 32, { 1, 2, 3 } },
};

/* A table with `count` sections of that type after the interface. */
static enum tzml_status check_sections_of(size_t type, uint32_t count,
					  uint8_t worlds, uint64_t size,
					  uint8_t flags)
{
	struct table *table = new_table();
	enum tzml_status status = TZML_SUCCESS;

	if (types[type].type == TZML_SECTION_INTERFACE)
		table->header.section_count = 0;
	for (uint32_t i = 0; i < count; i++)
		add_section(table, types[type].type, i, worlds, size)->flags ^=
			flags;
	status = check_table(table);
	free(table);
	return status;
}

static void test_sections(void)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		const uint8_t worlds = types[i].worlds[0];
		const uint32_t most = types[i].indices;
		const uint64_t size = types[i].size;

		check(!check_sections_of(i, most, worlds, 1, 0) &&
			      (most == TZML_MAX_SECTIONS - 1 ||
			       check_sections_of(i, most + 1, worlds, 1, 0) ==
				       TZML_ERROR_SECTION_TABLE),
		      "there are at most %u sections of type %u", most,
		      types[i].type);
		check(!check_sections_of(i, 1, worlds, size, 0) &&
			      check_sections_of(i, 1, worlds, size + 1, 0) ==
				      TZML_ERROR_LIMIT,
		      "a section of type %u has at most %llu bytes",
		      types[i].type, (unsigned long long)size);
		check(check_sections_of(i, 1, worlds, 1, 1) ==
				      TZML_ERROR_SECTION_TABLE &&
			      check_sections_of(i, 1, worlds, 1, 2) ==
				      TZML_ERROR_SECTION_TABLE,
		      "a section of type %u has exactly one flag",
		      types[i].type);
		for (uint8_t other = 0; other < 6; other++) {
			bool may = other && memchr(types[i].worlds, other,
						   sizeof(types[i].worlds));

			check(check_sections_of(i, 1, other, 1, 0) ==
				      (may ? TZML_SUCCESS
					   : TZML_ERROR_SECTION_TABLE),
			      "a section of type %u is %sfor worlds %u",
			      types[i].type, may ? "" : "not ", other);
		}
	}
}

static void test_tables(void)
{
	struct table *table = new_table();

	for (uint32_t i = 1; i < TZML_MAX_SECTIONS; i++)
		add_section(table, TZML_SECTION_WEIGHTS, i - 1, 1, 1);
	check(!check_table(table), "a bundle may have 1024 sections");
	add_section(table, TZML_SECTION_WEIGHTS, TZML_MAX_SECTIONS - 1, 1, 1);
	check(check_table(table) == TZML_ERROR_LIMIT, "and not one more");
	free(table);

	table = new_table();
	for (uint32_t i = 0; i < TZML_MAX_LIBRARIES; i++) {
		add_section(table, TZML_SECTION_KERNELS, i, 1, 1);
		add_section(table, TZML_SECTION_KERNELS, i, 2, 1);
	}
	check(!check_table(table), "a library may be there for each world");
	table->sections[2].worlds = 1;
	table->sections[1].worlds = 2;
	check(check_table(table) == TZML_ERROR_SECTION_TABLE,
	      "the TEE's comes first");
	free(table);

	table = new_table();
	table->sections[0].type = TZML_SECTION_MEMORY;
	check(check_table(table) == TZML_ERROR_SECTION_TABLE,
	      "the interface comes first");
	table->sections[0].type = TZML_SECTION_INTERFACE;
	table->sections[0].index = 1;
	check(check_table(table) == TZML_ERROR_SECTION_TABLE,
	      "indices begin at 0");
	table->sections[0].index = 0;
	check(!check_table(table), "nothing else is wrong with it");
	add_section(table, TZML_SECTION_WEIGHTS + 1, 0, 0, 1)->flags = 0;
	add_section(table, TZML_SECTION_WEIGHTS + 1, 1, 255, 1)->flags = 0;
	add_section(table, 1000, 0, 3, UINT64_C(1) << 40)->flags = 0;
	check(!check_table(table), "sections of unknown types are skipped");
	table->sections[3].flags = 1;
	check(check_table(table) == TZML_ERROR_UNSUPPORTED,
	      "unless they are required");
	table->sections[3].flags = 2;
	check(check_table(table) == TZML_ERROR_SECTION_TABLE,
	      "or have a flag that is not known");
	table->sections[3].flags = 0;
	table->sections[3].type = 9;
	check(check_table(table) == TZML_ERROR_SECTION_TABLE,
	      "or are out of order");
	table->sections[3].type = 1000;
	add_section(table, 1001, 0, 3, 1)->flags = 0;
	check(!check_table(table), "an unknown section may be large");
	/* align(end) of the third is 0, where the fourth begins */
	table->sections[3].size = UINT64_MAX - table->sections[3].offset;
	table->sections[4].size = UINT64_MAX;
	check(check_table(table) == TZML_ERROR_SECTION_TABLE,
	      "but none follows where 64 bits end");
	free(table);
}

static void test_header_fields(void)
{
	struct table *table = new_table();
	struct tzml_header *header = &table->header;

	header->secure_memory = header->code_memory = TZML_MAX_MEMORY;
	check(!check_table(table), "4 GiB of secure memory, all of it code");
	header->secure_memory++;
	check(check_table(table) == TZML_ERROR_LIMIT, "and not one byte more");
	header->secure_memory -= 2;
	check(check_table(table) == TZML_ERROR_HEADER_MALFORMED,
	      "code_memory is within secure_memory");
	header->secure_memory = header->code_memory = 0;
	for (uint32_t bit = 0; bit < 32; bit++) {
		header->required = UINT32_C(1) << bit;
		check(check_table(table) == TZML_ERROR_UNSUPPORTED,
		      "bit %u of `required` is not known", bit);
	}
	free(table);
}

static void test_sealed_sections(void)
{
	struct table *table = new_table();
	struct tzml_section *section = add_section(
		table, TZML_SECTION_WEIGHTS, 0, 3, (UINT64_C(1) << 29) - 1);

	section->protection = 1;
	check(check_table(table) == TZML_ERROR_SECTION_TABLE,
	      "what is sealed has an owner");
	table->header.owner[TZML_KEY_SIZE - 1] = 1;
	table->header.signature[0] = 1;
	check(!check_table(table), "a sealed section has less than 2^29 bytes");
	section->size++;
	check(check_table(table) == TZML_ERROR_LIMIT, "and not as many");
	free(table);
}

/* A bundle's section in a block of its own, so that reading past it shows. */
static void *section_alone(const uint8_t *bundle, uint32_t row)
{
	const struct tzml_section *section =
		tzml_bundle_sections((const void *)bundle) + row;
	void *data = malloc(section->size);

	memcpy(data, bundle + section->offset, section->size);
	return data;
}

/* Check the plans that fit a memory; what is refused is not used. */
static void check_plans(const uint8_t *bundle, uint32_t row,
			const struct tzml_interface *interface,
			unsigned int *wrong)
{
	const struct tzml_section *sections =
		tzml_bundle_sections((const void *)bundle);
	const struct tzml_header *header = (const void *)bundle;
	struct tzml_layout layout = { 0 };
	void *memory = section_alone(bundle, row);
	enum tzml_status status =
		tzml_layout_check(memory, sections[row].size, &layout);

	*wrong += !status != !!layout.header;
	for (uint32_t i = row; !status && i < header->section_count; i++) {
		struct tzml_plan plan = { 0 };
		void *scratch = NULL;
		void *data = NULL;

		if (sections[i].type != TZML_SECTION_PLAN ||
		    sections[i].index >= interface->header->program_count ||
		    sections[i].worlds & ~sections[row].worlds)
			continue;
		data = section_alone(bundle, i);
		*wrong += !tzml_plan_check(data, sections[i].size, interface,
					   sections[i].index, &layout,
					   &plan) != !!plan.header;
		if (plan.header) {
			scratch = malloc(tzml_plan_operands(&plan) *
					 TZML_CHECK_BYTES);
			tzml_plan_check_calls(&plan, interface,
					      &example_kernels, scratch);
		}
		free(scratch);
		free(data);
	}
	free(memory);
}

static unsigned int check_example(const uint8_t *bundle, size_t size)
{
	const struct tzml_header *header = (const void *)bundle;
	const struct tzml_section *sections = tzml_bundle_sections(header);
	struct tzml_interface interface = { 0 };
	unsigned int wrong = 0;
	size_t header_size = 0;
	void *data = NULL;

	if (size < sizeof(*header) ||
	    tzml_bundle_header_size(header, &header_size) ||
	    size < header_size || size < header->bundle_size ||
	    tzml_bundle_check(header, header_size))
		return 0;
	data = section_alone(bundle, 0);
	wrong += !tzml_interface_check(data, sections[0].size, &interface) !=
		 !!interface.header;
	for (uint32_t i = 0; interface.header && i < header->section_count; i++)
		if (sections[i].type == TZML_SECTION_MEMORY)
			check_plans(bundle, i, &interface, &wrong);
	free(data);
	return wrong;
}

static void test_examples(const char *folder)
{
	const size_t room = 1 << 20;
	uint8_t *bundle = malloc(room);
	struct dirent *entry = NULL;
	DIR *directory = opendir(folder);
	unsigned int count = 0;
	unsigned int wrong = 0;

	while (directory && (entry = readdir(directory))) {
		if (!strstr(entry->d_name, ".tzm"))
			continue;
		wrong += check_example(
			bundle,
			test_read_file(folder, entry->d_name, bundle, room));
		count++;
	}
	if (directory)
		closedir(directory);
	free(bundle);
	check(!wrong && count > 300,
	      "%u examples: what is refused is not half taken (%u wrong)",
	      count, wrong);
}

/* The union of intervals, against one that is kept byte by byte. */
static void test_written(void)
{
	enum { SPAN = 40, INTERVALS = 12, ROUNDS = 20000 };
	unsigned int wrong = 0;
	unsigned int yes = 0;

	srand(1);
	for (int round = 0; round < ROUNDS; round++) {
		bool bytes[SPAN + 1] = { false };
		struct {
			uint64_t start;
			uint64_t end;
		} intervals[INTERVALS];
		struct written written = { 0 };
		int known = 1 + rand() % INTERVALS;
		/* no larger than it must be, so that reading past it shows */
		void *scratch = malloc(known * TZML_CHECK_BYTES);

		written_begin(&written, scratch, known);
		for (int i = 0; i < known; i++) {
			intervals[i].start = rand() % SPAN;
			intervals[i].end =
				intervals[i].start + 1 +
				rand() % (SPAN - (int)intervals[i].start);
			written_know(&written, intervals[i].start,
				     intervals[i].end);
		}
		written_sort(&written);
		for (int i = 0; i < known; i++) {
			int asked = rand() % known;
			bool expected = true;
			bool found =
				written_has(&written, intervals[asked].start,
					    intervals[asked].end);

			for (uint64_t byte = intervals[asked].start;
			     byte < intervals[asked].end; byte++)
				expected &= bytes[byte];
			wrong += found != expected;
			yes += expected;
			written_add(&written, intervals[i].start,
				    intervals[i].end);
			memset(bytes + intervals[i].start, 1,
			       intervals[i].end - intervals[i].start);
		}
		free(scratch);
	}
	check(!wrong && yes > ROUNDS,
	      "what was written is known of each interval (%u wrong)", wrong);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: test_checks FOLDER\n", stderr);
		return 2;
	}
	test_characters();
	test_broken_text();
	test_sections();
	test_tables();
	test_header_fields();
	test_sealed_sections();
	test_examples(argv[1]);
	test_written();
	return tap_end();
}

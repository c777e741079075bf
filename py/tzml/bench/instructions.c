// SPDX-License-Identifier: Apache-2.0
/*
 * A plugin for QEMU's user emulation that counts the guest's instructions
 * between two marks. QEMU's plugin interface, version 1 (QEMU 4.2 and newer);
 * declared here because Debian ships no header for it.
 *
 * With the argument blocks=FILE it also writes to FILE which blocks of
 * instructions were executed between the last two marks, a line each: how
 * often, the address of the block that mostly came before (0 for none), its own
 * address, and its instructions in hexadecimal. And it prints how often caches
 * that were empty at the first mark missed. All that is slower than counting.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "caches.h"
#include "measure.h"

#define EXPORT		 __attribute__((visibility("default")))
#define PRCTL_ON_AARCH64 167
#define INLINE_ADD_U64	 0
#define NO_REGISTERS	 0
#define READ_AND_WRITE	 3
#define BLOCKS		 "blocks="
#define PREDECESSORS	 8

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

typedef void (*translated)(plugin_id id, struct qemu_plugin_tb *block);
typedef void (*system_call)(plugin_id id, unsigned int cpu, int64_t number,
			    uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			    uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);
typedef void (*block_runs)(unsigned int cpu, void *block);
typedef void (*memory_used)(unsigned int cpu, uint32_t how, uint64_t address,
			    void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, translated callback);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block,
					      int operation, void *to,
					      uint64_t value);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block,
					  block_runs callback, int registers,
					  void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *instruction,
				      memory_used callback, int registers,
				      int how, void *data);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id id, system_call callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *b,
						 size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *instruction);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc,
			       char **argv);

/* A translated block, and after which others it was executed how often. */
struct block {
	struct block *next;
	uint64_t address;
	uint64_t count;
	struct {
		const struct block *block;
		uint64_t count;
	} before[PREDECESSORS];
	size_t length;
	uint32_t instructions[];
};

static uint64_t executed;
static uint64_t begin;
static const char *blocks_file; /* NULL: only count */
static struct block *blocks;
static const struct block *last;
static int between_marks;

static void on_block(unsigned int cpu, void *data)
{
	struct block *block = data;

	(void)cpu;
	if (!between_marks)
		return;
	block->count++;
	for (int i = 0; last && i < PREDECESSORS; i++) {
		if (!block->before[i].block)
			block->before[i].block = last;
		if (block->before[i].block == last) {
			block->before[i].count++;
			break;
		}
	}
	last = block;
}

static void on_memory(unsigned int cpu, uint32_t how, uint64_t address,
		      void *data)
{
	(void)cpu, (void)how, (void)data;
	if (between_marks)
		use_line(address);
}

static void record(struct qemu_plugin_tb *translation)
{
	size_t length = qemu_plugin_tb_n_insns(translation);
	struct block *block =
		calloc(1, sizeof(*block) + length * sizeof(uint32_t));

	if (!block)
		abort();
	block->address = qemu_plugin_tb_vaddr(translation);
	block->length = length;
	for (size_t i = 0; i < length; i++) {
		struct qemu_plugin_insn *instruction =
			qemu_plugin_tb_get_insn(translation, i);

		memcpy(&block->instructions[i],
		       qemu_plugin_insn_data(instruction), sizeof(uint32_t));
		qemu_plugin_register_vcpu_mem_cb(instruction, on_memory,
						 NO_REGISTERS, READ_AND_WRITE,
						 NULL);
	}
	qemu_plugin_register_vcpu_tb_exec_cb(translation, on_block,
					     NO_REGISTERS, block);
	block->next = blocks;
	blocks = block;
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *block)
{
	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64,
						 &executed,
						 qemu_plugin_tb_n_insns(block));
	if (blocks_file)
		record(block);
}

static void begin_recording(void)
{
	for (struct block *block = blocks; block; block = block->next) {
		block->count = 0;
		memset(block->before, 0, sizeof(block->before));
	}
	empty_caches();
	last = NULL;
	between_marks = 1;
}

static uint64_t mostly_before(const struct block *block)
{
	uint64_t address = 0;
	uint64_t most = 0;

	for (int i = 0; i < PREDECESSORS; i++) {
		if (block->before[i].count > most) {
			most = block->before[i].count;
			address = block->before[i].block->address;
		}
	}
	return address;
}

static void end_recording(void)
{
	FILE *file = fopen(blocks_file, "w");

	between_marks = 0;
	if (!file)
		abort();
	for (struct block *block = blocks; block; block = block->next) {
		if (!block->count)
			continue;
		fprintf(file, "%" PRIu64 " %" PRIx64 " %" PRIx64 " ",
			block->count, mostly_before(block), block->address);
		for (size_t i = 0; i < block->length; i++)
			fprintf(file, "%08" PRIx32, block->instructions[i]);
		fputc('\n', file);
	}
	if (fclose(file))
		abort();
	fprintf(stderr, "l1_misses %" PRIu64 "\nl2_misses %" PRIu64 "\n",
		l1_misses, l2_misses);
}

static void on_system_call(plugin_id id, unsigned int cpu, int64_t number,
			   uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			   uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
	(void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6;
	(void)a7, (void)a8;
	if (number != PRCTL_ON_AARCH64)
		return;
	if (a1 == MEASURE_BEGIN) {
		begin = executed;
		if (blocks_file)
			begin_recording();
	}
	if (a1 == MEASURE_END) {
		fprintf(stderr, "instructions %" PRIu64 "\n", executed - begin);
		if (blocks_file)
			end_recording();
	}
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], BLOCKS, strlen(BLOCKS)))
			return -1;
		blocks_file = strdup(argv[i] + strlen(BLOCKS));
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
	return 0;
}

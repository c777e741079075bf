// SPDX-License-Identifier: Apache-2.0
/*
 * A plugin for QEMU's user emulation that counts the guest's instructions
 * between two marks. QEMU's plugin interface, version 1 (QEMU 4.2 and newer);
 * declared here because Debian ships no header for it.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "measure.h"

#define EXPORT		 __attribute__((visibility("default")))
#define PRCTL_ON_AARCH64 167
#define INLINE_ADD_U64	 0

typedef uint64_t plugin_id;
struct qemu_plugin_tb;

typedef void (*translated)(plugin_id id, struct qemu_plugin_tb *block);
typedef void (*system_call)(plugin_id id, unsigned int cpu, int64_t number,
			    uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			    uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, translated callback);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block,
					      int operation, void *to,
					      uint64_t value);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id id, system_call callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc,
			       char **argv);

static uint64_t executed;
static uint64_t begin;

static void on_translation(plugin_id id, struct qemu_plugin_tb *block)
{
	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64,
						 &executed,
						 qemu_plugin_tb_n_insns(block));
}

static void on_system_call(plugin_id id, unsigned int cpu, int64_t number,
			   uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			   uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
	(void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6;
	(void)a7, (void)a8;
	if (number != PRCTL_ON_AARCH64)
		return;
	if (a1 == MEASURE_BEGIN)
		begin = executed;
	if (a1 == MEASURE_END)
		fprintf(stderr, "instructions %" PRIu64 "\n", executed - begin);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info, (void)argc, (void)argv;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
/*
 * The seed that QEMU puts into the device tree for the secure world.
 *
 * The tree lies in normal memory, where the normal world finds it once it
 * starts. So whatever the secure world is told there is overwritten: this
 * seed, and the one for the addresses of OP-TEE's core, which is used already.
 */
#include <kernel/cache_helpers.h>
#include <kernel/dt.h>
#include <kernel/panic.h>
#include <libfdt.h>
#include <string.h>
#include <string_ext.h>

#include "seed.h"

#define SEED_SIZE (SEED_WORDS * sizeof(uint32_t))

const char seed_source[] = "device-tree-seed";

static void *find(void *tree, int node, const char *name, int *size)
{
	return node < 0 ? NULL : fdt_getprop_w(tree, node, name, size);
}

static void overwrite(void *secret, int size)
{
	memzero_explicit(secret, size);
	/* the normal world starts with its caches off */
	dcache_cleaninv_range(secret, size);
}

void seed_read(uint32_t seed[SEED_WORDS])
{
	void *tree = get_external_dt();
	int node = tree ? fdt_path_offset(tree, "/secure-chosen") : -1;
	int size = 0;
	void *found = find(tree, node, "rng-seed", &size);

	if (!found || size < (int)SEED_SIZE)
		panic("the device tree has no /secure-chosen/rng-seed");
	memcpy(seed, found, SEED_SIZE);
	overwrite(found, size);
	found = find(tree, node, "kaslr-seed", &size);
	if (found)
		overwrite(found, size);
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TZML_INTERFACE_H
#define TZML_INTERFACE_H

#include <stdbool.h>
#include <stddef.h>
#include <tzml/format.h>
#include <tzml/status.h>

/* A checked interface: where its tables are. */
struct tzml_interface {
	const struct tzml_interface_header *header;
	const struct tzml_program *programs;
	const struct tzml_tensor *tensors;
	const uint32_t *ports;
	const char *strings; /* names, each with a zero byte behind it */
};

/*
 * Check everything in an interface: `size` bytes at `data`, aligned to 8, in
 * memory nobody else can write. On success, and only then, `interface` points
 * into `data`.
 */
enum tzml_status tzml_interface_check(const void *data, size_t size,
				      struct tzml_interface *interface);

/* The ports of a program: its inputs, then its outputs. */
const uint32_t *tzml_interface_ports(const struct tzml_interface *interface,
				     uint32_t program);

/* Bytes of the tensors with these numbers, back to back. */
uint64_t tzml_interface_bytes(const struct tzml_interface *interface,
			      const uint32_t *ports, uint32_t count);

/* Bytes of one number, or zero for a dtype that does not exist. */
uint64_t tzml_dtype_size(uint32_t dtype);

#endif /* TZML_INTERFACE_H */

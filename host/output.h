/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that a command writes, whole or not at all. Nothing and a regular
 * file are replaced in one step; the file that was there passes on its mode
 * and owner, and symbolic links are followed. Everything else (a device, a
 * pipe, standard output, which is also called "-") is written into.
 * py/tzml/files.py is the same in Python.
 */
#ifndef TZML_OUTPUT_H
#define TZML_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether a file can be written to `path`, which is left as it is: 0, or -1
 * with errno. For use before work that takes long.
 */
int output_check(const char *path);

/* Write the file: 0, or -1 with errno, and what was there is still there. */
int output_write(const char *path, const void *data, size_t size);

/* Whether `path` is where standard output goes, and no terminal or device. */
bool output_is_stdout(const char *path);

/* Whether writing `path` would replace the file `input`. */
bool output_replaces(const char *path, const char *input);

#endif /* TZML_OUTPUT_H */

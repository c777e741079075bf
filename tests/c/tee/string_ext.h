/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STRING_EXT_H
#define STRING_EXT_H

#include <string.h>

#define memzero_explicit(memory, size) explicit_bzero(memory, size)

#endif /* STRING_EXT_H */

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UTIL_H
#define UTIL_H

#define MAX(a, b) ((a) > (b) ? (a) : (b))

#endif /* UTIL_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the measured program and the QEMU plugin agree on: prctl() calls that no
 * kernel knows, so that they do nothing but tell where the measured part is.
 */
#ifndef TZML_BENCH_MEASURE_H
#define TZML_BENCH_MEASURE_H

#define MEASURE_BEGIN 0x747a0001
#define MEASURE_END   0x747a0002

#endif

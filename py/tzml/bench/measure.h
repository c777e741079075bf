/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks shared by the measured program and the QEMU plugin: prctl() calls that
 * no kernel knows, so that they only mark the measured part.
 */
#ifndef TZML_BENCH_MEASURE_H
#define TZML_BENCH_MEASURE_H

#define MEASURE_BEGIN 0x747a0001
#define MEASURE_END   0x747a0002

#endif

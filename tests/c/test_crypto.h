/* SPDX-License-Identifier: Apache-2.0 */
/* The cryptography of a device, by OpenSSL. */
#ifndef TEST_CRYPTO_H
#define TEST_CRYPTO_H

#include <tzml/platform.h>

#define TEST_TA_VERSION 3

extern const struct tzml_crypto test_crypto;

#endif /* TEST_CRYPTO_H */

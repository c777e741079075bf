/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between the worlds. */
#ifndef TZML_PLATFORM_H
#define TZML_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <tzml/format.h>
#include <tzml/kernels.h>
#include <tzml/status.h>

/* A P-256 key that is not the device's. */
struct tzml_key_pair {
	uint8_t secret[TZML_SECRET_SIZE];
	uint8_t point[TZML_POINT_SIZE];
};

/*
 * The cryptography of a world that opens sealed bundles. Keys of the device
 * never leave the platform. Data is in memory that nobody else can write.
 */
struct tzml_crypto {
	uint64_t ta_version; /* which grants ask for */
	bool sealed_only;    /* refuse what is not sealed: a release's TA */

	/* TZML_ERROR_SIGNATURE unless the key's owner signed the digest. */
	enum tzml_status (*verify)(void *context,
				   const uint8_t key[TZML_KEY_SIZE],
				   const uint8_t digest[TZML_DIGEST_SIZE],
				   const uint8_t signature[TZML_KEY_SIZE]);
	/* HMAC-SHA-256; the key has at least 32 bytes. */
	enum tzml_status (*hmac)(void *context, const uint8_t *key,
				 size_t key_size, const void *data, size_t size,
				 uint8_t mac[TZML_DIGEST_SIZE]);
	/* The device's public key, or TZML_ERROR_NOT_ENROLLED. */
	enum tzml_status (*device_key)(void *context,
				       uint8_t point[TZML_POINT_SIZE]);
	/*
	 * ECDH with a key, NULL: the device's: the X of the common point.
	 * TZML_ERROR_SECTION_DIGEST if the other one is not on the curve.
	 */
	enum tzml_status (*agree)(void *context,
				  const struct tzml_key_pair *own,
				  const uint8_t point[TZML_POINT_SIZE],
				  uint8_t secret[TZML_SECRET_SIZE]);
	/*
	 * Open AES-256-GCM in place. TZML_ERROR_SECTION_DIGEST if the tag is
	 * wrong: what is in `data` then is not to be used.
	 */
	enum tzml_status (*unseal)(void *context,
				   const uint8_t key[TZML_SECRET_SIZE],
				   const uint8_t nonce[TZML_NONCE_SIZE],
				   const void *aad, size_t aad_size, void *data,
				   size_t size,
				   const uint8_t tag[TZML_TAG_SIZE]);
	/* Keep no key of those that unseal() had. */
	void (*forget)(void *context);
	/* Seal with AES-256-GCM in place. A nonce is used once with a key. */
	enum tzml_status (*seal)(void *context,
				 const uint8_t key[TZML_SECRET_SIZE],
				 const uint8_t nonce[TZML_NONCE_SIZE],
				 const void *aad, size_t aad_size, void *data,
				 size_t size, uint8_t tag[TZML_TAG_SIZE]);
	/* ECDH with a new key, whose public half is `own`. */
	enum tzml_status (*agree_once)(void *context,
				       const uint8_t point[TZML_POINT_SIZE],
				       uint8_t own[TZML_POINT_SIZE],
				       uint8_t secret[TZML_SECRET_SIZE]);
	/* HMAC under the device's private key of a label and the digest. */
	enum tzml_status (*checkpoint_key)(
		void *context, const uint8_t digest[TZML_DIGEST_SIZE],
		uint8_t key[TZML_SECRET_SIZE]);
	/*
	 * A number for the next checkpoint of the grant's model, above all
	 * before. TZML_ERROR_CHECKPOINT_FORKED unless `base`, from which the
	 * state comes (0: the bundle), is the newest that was confirmed, or it
	 * is to be given up.
	 */
	enum tzml_status (*number_checkpoint)(void *context,
					      const struct tzml_grant *grant,
					      uint64_t base, bool give_up,
					      uint64_t *number);
	/*
	 * TZML_ERROR_CHECKPOINT_OLD unless the number is the last that was
	 * confirmed, the last that was given, or above. With `confirm`, those
	 * before it are refused from now on.
	 */
	enum tzml_status (*admit_checkpoint)(void *context,
					     const struct tzml_grant *grant,
					     uint64_t number, bool confirm);
	/* TZML_ERROR_OWNER_UNKNOWN if the device was not enrolled for it. */
	enum tzml_status (*know)(void *context,
				 const uint8_t owner[TZML_KEY_SIZE]);
	/*
	 * Whether the device takes this grant: it knows the owner, and has
	 * seen neither a newer version of the model nor a later grant.
	 * Remembers both. Before, everything else was checked.
	 */
	enum tzml_status (*admit)(void *context,
				  const struct tzml_header *header,
				  const struct tzml_grant *grant);
	/*
	 * Take up to `*runs` runs from the grant's budget, for good. Says how
	 * many, at least one, or TZML_ERROR_BUDGET.
	 */
	enum tzml_status (*spend)(void *context, const struct tzml_grant *grant,
				  uint64_t *runs);
	/*
	 * Count one more update of a private model, for good: later grants do
	 * not begin anew. TZML_ERROR_PRIVACY_BUDGET if the grant's are used up.
	 */
	enum tzml_status (*spend_update)(void *context,
					 const struct tzml_grant *grant);
	/*
	 * TZML_ERROR_ROUND_OLD if a global model of a later round was taken.
	 * With `take`, those before are refused from now on.
	 */
	enum tzml_status (*admit_round)(void *context,
					const struct tzml_grant *grant,
					uint64_t round, bool take);
	/* TZML_ERROR_DOWNGRADE if the device has seen that model sealed. */
	enum tzml_status (*admit_clear)(void *context,
					const struct tzml_header *header);
};

struct tzml_platform {
	enum tzml_target target;
	enum tzml_worlds world; /* TZML_IN_TEE or TZML_IN_REE */

	/* Zeroed memory aligned to TZML_ALIGNMENT, or NULL. */
	void *(*allocate)(void *context, size_t size);
	/* Give back memory, which is wiped already. */
	void (*release)(void *context, void *memory, size_t size);

	/* SHA-256, one at a time; start may follow start. */
	enum tzml_status (*digest_start)(void *context);
	enum tzml_status (*digest_update)(void *context, const void *data,
					  size_t size);
	enum tzml_status (*digest_finish)(void *context,
					  uint8_t digest[TZML_DIGEST_SIZE]);

	/* Bytes that nobody can guess. */
	enum tzml_status (*random)(void *context, void *data, size_t size);

	/*
	 * Make the kernel library of that digest callable, which is in the
	 * image, or refuse it: what was opened before changes nothing about
	 * that. At most TZML_MAX_LIBRARIES are open at once; all stay until
	 * close_kernels.
	 */
	enum tzml_status (*open_kernels)(void *context,
					 const uint8_t digest[TZML_DIGEST_SIZE],
					 const void *image, size_t size,
					 struct tzml_kernels *kernels);
	/* Close all libraries, if any. */
	void (*close_kernels)(void *context);

	/* NULL in a world that does not open sealed bundles. */
	const struct tzml_crypto *crypto;
};

#endif /* TZML_PLATFORM_H */

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTECTION_H
#define PROTECTION_H

#include <tzml/model.h>

/*
 * How a section is protected. One section at a time: open, update until all of
 * its bytes came, finish. A new open gives up what was not finished. It is the
 * section that the model wants.
 */
struct tzml_protection_ops {
	enum tzml_status (*open)(const struct tzml_model *model);
	/*
	 * Take the next bytes from `in`, which somebody else may write to at
	 * any time, to `out`, which is private. What is there is not to be
	 * used before finish has succeeded.
	 */
	enum tzml_status (*update)(const struct tzml_model *model,
				   const void *in, void *out, size_t size);
	/*
	 * Whether the section was what its tag says. `data` is where all of
	 * it was taken to, and has its content afterwards.
	 */
	enum tzml_status (*finish)(const struct tzml_model *model, void *data);
};

/* The protection with that code, or NULL for one that is not known. */
const struct tzml_protection_ops *tzml_protection_of(uint8_t code);

#endif /* PROTECTION_H */

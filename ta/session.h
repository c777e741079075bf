/* SPDX-License-Identifier: Apache-2.0 */
/* A session of the TA: one model. */
#ifndef SESSION_H
#define SESSION_H

#include <tzml/model.h>

#include "platform.h"

struct session {
	struct platform_context platform;
	struct tzml_model model;
};

#endif /* SESSION_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bytes of the arena a run still needs: found from its end, by taking
 * away what a call writes and adding what it reads. A fixed number of ranges
 * has room for it: with more, some that nobody needs are counted as needed.
 */
#ifndef LIVE_H
#define LIVE_H

#include <tzml/model.h>

void live_add(struct tzml_live *live, uint64_t start, uint64_t end);
void live_remove(struct tzml_live *live, uint64_t start, uint64_t end);

/* Bytes that a copy takes, each range of which begins aligned. */
uint64_t live_size(const struct tzml_live *live);

/* Copy between an arena and a copy of what is live in it. */
void live_save(const struct tzml_live *live, const uint8_t *arena, uint8_t *to);
void live_restore(const struct tzml_live *live, uint8_t *arena,
		  const uint8_t *from);

#endif /* LIVE_H */

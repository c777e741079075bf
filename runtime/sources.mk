# SPDX-License-Identifier: Apache-2.0
# What both worlds compile.
runtime-srcs := batch.c bundle.c calls.c checkpoint.c grant.c hpke.c interface.c layout.c \
	live.c load.c model.c noise.c plan.c policy.c promises.c protection.c record.c repeat.c run.c stage.c \
	text.c written.c

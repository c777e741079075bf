# SPDX-License-Identifier: Apache-2.0
# What both worlds compile.
runtime-srcs := bundle.c calls.c model.c plan.c promises.c run.c

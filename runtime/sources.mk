# SPDX-License-Identifier: Apache-2.0
# What both worlds compile.
runtime-srcs := bundle.c model.c plan.c run.c

# SPDX-License-Identifier: GPL-2.0-only
"""The worker of the BitBake engine, which serves bb.runqueue through a pipe (BitBake 2.19)."""

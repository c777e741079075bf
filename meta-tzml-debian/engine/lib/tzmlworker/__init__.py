# SPDX-License-Identifier: GPL-2.0-only
"""The worker of the BitBake engine: what bb.runqueue expects at the other end of its pipe (BitBake 2.19)."""

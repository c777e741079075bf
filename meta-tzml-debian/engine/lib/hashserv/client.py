# SPDX-License-Identifier: GPL-2.0-only
"""bb.siggen imports this name; see the package."""

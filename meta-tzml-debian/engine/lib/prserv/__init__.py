# SPDX-License-Identifier: GPL-2.0-only
"""The parts of BitBake's PR (package revision) server that bb.cooker imports. PyPI's package lacks it."""

# SPDX-License-Identifier: GPL-2.0-only
"""What bb.cooker imports of BitBake's PR (package revision) server, which is not in the PyPI package."""

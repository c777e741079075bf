# SPDX-License-Identifier: Apache-2.0
"""Known vulnerabilities of what an image is made of: feeds that the user gives, and what the maker says of them."""

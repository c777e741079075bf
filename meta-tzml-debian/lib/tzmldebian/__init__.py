# SPDX-License-Identifier: Apache-2.0
"""Python of the Debian feed. BitBake imports the modules below and follows calls into them for task hashes."""

BBIMPORTS = [
    "bootstrap",
    "emmc",
    "fat",
    "fetch",
    "hikey",
    "host",
    "imagejson",
    "initramfs",
    "keys",
    "optee",
    "packages",
    "rootfs",
    "sdcard",
    "staging",
    "template",
    "tree",
    "vendorfiles",
]

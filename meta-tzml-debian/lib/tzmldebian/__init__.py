# SPDX-License-Identifier: Apache-2.0
"""Python code of the Debian feed.

BitBake imports the modules below, and follows calls into them when it computes the hashes of tasks.
"""

BBIMPORTS = [
    "bootstrap",
    "cachemirror",
    "emmc",
    "fat",
    "feedlock",
    "fetch",
    "hikey",
    "host",
    "imagejson",
    "initramfs",
    "keys",
    "measure",
    "optee",
    "packages",
    "provenance",
    "release",
    "rootfs",
    "rootfscache",
    "sdcard",
    "staging",
    "template",
    "tree",
    "vendorfiles",
]

# The product alone: what a small device needs to answer, without Python, tests and SSH.

SUMMARY = "OP-TEE and tzml's client in C"
LICENSE = "Apache-2.0"

inherit core-image

IMAGE_INSTALL = "packagegroup-core-boot packagegroup-tzml"

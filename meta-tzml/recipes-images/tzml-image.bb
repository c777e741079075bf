# The image on which the product is tested.

SUMMARY = "OP-TEE, Debian or Poky, and tzml"
LICENSE = "Apache-2.0"

inherit core-image

IMAGE_INSTALL = " \
    optee-test \
    python3-tzml \
    tzml \
    tzml-board \
    tzml-models \
    tzml-ta \
    tzml-test \
"

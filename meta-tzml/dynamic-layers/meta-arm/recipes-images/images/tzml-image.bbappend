# What the Debian feed's root file system has in any case, and the description of the image for the lab.

IMAGE_INSTALL:append = " packagegroup-core-boot"

inherit tzml-image-json

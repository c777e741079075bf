# An image as OE-core's class of this name makes one; the work is in image.bbclass.

inherit image

# Stands for OE-core's class of the same name; image.bbclass does the work.

inherit image

require optee-os-tzml.inc

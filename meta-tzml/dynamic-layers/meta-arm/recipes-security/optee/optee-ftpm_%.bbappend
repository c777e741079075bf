require optee-signing.inc

"""OP-TEE's own test suite, xtest: run it, read its output line by line, compare it with recorded lists of cases."""

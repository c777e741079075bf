"""OP-TEE's own test suite: run on a target, read line by line, compared with what was recorded."""

"""Which layers of a model should run in the TEE: what layers cost in each world, and the best ranges of them."""

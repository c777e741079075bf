"""What a model with some layers in the TEE still tells: attacks on it, and on the two extremes."""

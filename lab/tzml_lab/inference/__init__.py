"""Models on a target: what they answer, what they should, and bundles that must be refused."""

"""tzml's federated training as an app of Flower. It imports nothing of tzml."""

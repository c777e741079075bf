"""PyTorch's exported programs."""

"""PyTorch's files, read without torch."""

"""The original PyTorch code, and what it once gave."""

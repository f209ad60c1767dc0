"""The built-in checkpoint: its weights, its card, and the list of what it can draw."""

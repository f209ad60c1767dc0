"""The built-in checkpoint: how it was made, its card and its weights."""

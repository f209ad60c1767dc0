"""The built-in vision model: its weights and its card."""

"""The gateway: one module per dialect, and what they share."""

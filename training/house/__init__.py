"""How the built-in checkpoint `house` was trained; its card is models/house/README.md."""

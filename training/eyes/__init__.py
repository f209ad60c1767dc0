"""Makes the built-in vision model ``models/eyes``: rendered emoji of several sets, and their words."""

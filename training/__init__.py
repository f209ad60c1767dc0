"""Training code: it needs a checkout of the repository and is not part of the installed package."""

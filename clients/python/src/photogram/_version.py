"""The version of this distribution, for the User-Agent header and `--version`."""

__version__ = "0.1.0"

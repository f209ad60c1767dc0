"""The version of this distribution, as it is told to servers and printed by the command line."""

__version__ = "0.1.0"

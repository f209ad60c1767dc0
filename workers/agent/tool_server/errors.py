"""What a tool refuses to do."""

from __future__ import annotations

from models.errors import PhotogramError


class Refused(PhotogramError):
    """A tool cannot do what it was asked; the message is a sentence for the model that asked."""

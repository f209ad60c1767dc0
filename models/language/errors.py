"""The errors of a language engine.

PhotogramError
└── LanguageError
    ├── EngineUnavailable   the connection broke, the status is 429 or 5xx, or the circuit breaker is open
    │   └── EngineAway      the connection was refused: no process listens
    ├── EngineTimeout       no response before the deadline
    └── EngineMisbehaved    the response is invalid: another 4xx, no JSON, or no text
"""

from __future__ import annotations

from models.errors import PhotogramError


class LanguageError(PhotogramError):
    """A request to the language engine failed."""


class EngineUnavailable(LanguageError):
    """The engine cannot be reached, or reports that it is overloaded or broken."""


class EngineAway(EngineUnavailable):
    """No process listens at the engine's address; it is starting or has stopped."""


class EngineTimeout(LanguageError):
    """The engine did not respond before the deadline."""


class EngineMisbehaved(LanguageError):
    """The engine sent an invalid response."""

"""What can go wrong between us and a language engine.

PhotogramError
└── LanguageError
    ├── EngineUnavailable   the connection breaks, the server says 5xx, or the circuit breaker is open
    │   └── EngineAway      nobody listens, which is found out at once
    ├── EngineTimeout       no answer in time
    └── EngineMisbehaved    an answer that is not what was asked for: no JSON, no text, a refusal of our request
"""

from __future__ import annotations

from models.errors import PhotogramError


class LanguageError(PhotogramError):
    """The language engine did not do what it was asked."""


class EngineUnavailable(LanguageError):
    """The engine cannot be reached, or says that it cannot serve."""


class EngineAway(EngineUnavailable):
    """Nobody listens at the engine's address: it is starting, or gone."""


class EngineTimeout(LanguageError):
    """The engine did not answer in time."""


class EngineMisbehaved(LanguageError):
    """The engine answered something that makes no sense here."""

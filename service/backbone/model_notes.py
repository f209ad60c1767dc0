"""What workers noted about the models: why one cannot be loaded, which backend runs it, and which are loaded now."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redis import Redis

from service.backbone.keyspace import MODEL_BACKENDS_KEY, MODEL_PROBLEMS_KEY, worker_status_key

STATUS_TTL_S = 5.0
"""A worker whose status is older is not relied on."""


@dataclass(frozen=True)
class ModelBackend:
    """The backend that runs a model, and the error of its outputs against torch's, relative to their size."""

    backend: str
    relative_error: float | None


@dataclass(frozen=True)
class ModelNotes:
    """The notes on all models, by the name of the model."""

    problems: Mapping[str, str] = field(default_factory=dict)
    """Why workers could not load models."""
    backends: Mapping[str, ModelBackend] = field(default_factory=dict)
    """Of the models that workers have loaded at any time."""
    loaded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The models that workers have in memory now, with the devices of these workers."""


def read_notes(connection: Redis) -> ModelNotes:
    """The notes that Redis has; raises :class:`~redis.exceptions.RedisError`."""
    problems: Any = connection.hgetall(MODEL_PROBLEMS_KEY)
    backends: Any = connection.hgetall(MODEL_BACKENDS_KEY)
    statuses: Any = connection.hgetall(worker_status_key())
    alive = [status for status in map(json.loads, statuses.values()) if time.time() - status["at"] <= STATUS_TTL_S]
    loaded: dict[str, tuple[str, ...]] = {}
    for status in alive:
        for name in status["loaded"]:
            loaded[name] = (*loaded.get(name, ()), status.get("device") or "a worker")
    return ModelNotes(problems_of(problems), backends_of(backends), loaded)


def problems_of(found: Mapping[bytes, bytes]) -> dict[str, str]:
    """The hash of problems, decoded."""
    return {name.decode(): problem.decode() for name, problem in found.items()}


def backends_of(found: Mapping[bytes, bytes]) -> dict[str, ModelBackend]:
    """The hash of backends, decoded."""
    return {name.decode(): ModelBackend(**json.loads(note)) for name, note in found.items()}

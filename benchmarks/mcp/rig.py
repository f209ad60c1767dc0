"""The server of the benchmark: Valkey, a gateway as a process of its own, and the engine; and what it has counted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.gateway.servers import Server, gateway, valkey
from benchmarks.mcp.engine import Engine, engine_running
from service.backbone.connections import connect
from service.backbone.keys import add_key

KEYS = tuple(f"assistants-{number}" for number in range(10))
"""The API keys that all assistants share."""


@dataclass(frozen=True)
class Rig:
    """A running server."""

    gateway: Server
    engine: Engine

    @property
    def url(self) -> str:
        """Of the gateway."""
        return f"http://127.0.0.1:{self.gateway.port}"

    @property
    def scale(self) -> float:
        """How many seconds of assistants and jobs pass in a real one."""
        return self.engine.scale


@contextmanager
def running(longest_s: float, scale: float) -> Iterator[Rig]:
    """A server whose jobs take up to ``longest_s`` seconds, of which ``scale`` pass in a real one."""
    with tempfile.TemporaryDirectory() as folder, valkey(KEYS[0]) as url, connect(url, "assistants") as redis:
        for key in KEYS:
            add_key(redis, key, key)
        engine = Engine(redis, Path(folder), longest_s, scale)
        with gateway(url, PHOTOGRAM_DATA=folder, PHOTOGRAM_LLM="off") as server, engine_running(engine):
            rig = Rig(server, engine)
            httpx.post(
                f"{rig.url}/mcp", headers=_as(KEYS[0]), timeout=60
            )  # it loads its library with the first request
            yield rig


@dataclass(frozen=True)
class Books:
    """What the server has counted of all keys."""

    jobs: int
    units: float
    """Their cost, in megapixel-steps."""
    units_of_one: float
    """The cost of one of the jobs, all of which are of one size."""
    drawn_twice: int
    """Jobs that the engine drew more than once."""

    @property
    def charged_twice(self) -> int:
        """Jobs that were paid for and are not there."""
        return round(self.units / self.units_of_one) - self.jobs


def books(rig: Rig, params: dict[str, Any]) -> Books:
    """The books of a server whose jobs all had ``params``, with a prompt and a seed of their own."""
    jobs, units = 0, 0.0
    with httpx.Client(base_url=rig.url, timeout=60) as client:
        for key in KEYS:
            month = client.get("/v1/usage", headers=_as(key)).raise_for_status().json()["month"]
            jobs, units = jobs + month["jobs"], units + month["units"]
        body = {"kind": "txt2img", "params": {**params, "prompt": "an apple"}}
        dry_run = client.post("/v1/jobs/dry_run", json=body, headers=_as(KEYS[0])).raise_for_status().json()
    twice = sum(times > 1 for times in rig.engine.drawn.values())
    return Books(jobs, units, dry_run["cost"]["units"], twice)


def _as(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}

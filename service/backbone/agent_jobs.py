"""What Redis keeps of an agent job while it has not ended: its steps, what it has spent, its question, and answers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from models.errors import InternalFailure
from models.jobs.results import Json
from service.backbone import scripts
from service.backbone.allowances import STEP_PX_PER_UNIT
from service.backbone.keyspace import (
    agent_inputs_key,
    agent_spent_key,
    agent_steps_key,
    events_key,
    record_key,
    watched_key,
)

INPUTS_MAX = 100
"""How often people may tell one job something."""
STEP_MAX_BYTES = 1 << 18
"""The largest recorded step; images are stored elsewhere, and only named in it."""

Told = Literal["told", "over", "other", "full"]
"""What became of something that a person told a job: ``over`` if it has ended, ``other`` if it asks something else."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """What one step uses of the budget."""

    steps: int = 1
    images: int = 0
    step_px: int = 0


@dataclass(frozen=True, kw_only=True)
class Most:
    """The budget of a job, in the same measures."""

    steps: int
    images: int
    step_px: int

    @classmethod
    def of(cls, steps: int, images: int, cost_units: float) -> Most:
        return cls(steps=steps, images=images, step_px=round(cost_units * STEP_PX_PER_UNIT))


class AgentRecord:
    """One execution of an agent job, as its worker reads and writes it; all methods block.

    A method that writes does nothing once the job has ended or belongs to another execution.
    """

    def __init__(self, connection: Redis, job_id: str, execution_id: str) -> None:
        self._connection, self._job_id, self._execution_id = connection, job_id, execution_id
        self._keys = _keys(job_id)
        self._keep_step = connection.register_script(scripts.keep_step())
        self._spend = connection.register_script(scripts.spend())
        self._ask = connection.register_script(scripts.ask())

    def steps(self) -> dict[str, Any]:
        """The steps that are kept, by their names."""
        found: Any = self._connection.hgetall(agent_steps_key(self._job_id))
        return {name.decode(): json.loads(text) for name, text in found.items()}

    def keep_step(self, name: str, step: Mapping[str, Json]) -> bool:
        """Keep a step; ``False`` if the job is no longer this execution's.

        Raises:
            InternalFailure: the step is too large.
        """
        text = json.dumps(step, allow_nan=False)
        if len(text) > STEP_MAX_BYTES:
            raise InternalFailure(f"the step {name} of the agent has {len(text)} bytes; at most {STEP_MAX_BYTES} fit")
        return bool(self._run(self._keep_step, name, text))

    def spend(self, name: str, use: Use, most: Most) -> str:
        """Take what the step ``name`` uses from the budget, once: ``go``, ``over``, or what is used up."""
        triples = [part for each in vars(use) for part in (each, getattr(use, each), getattr(most, each))]
        answer: bytes = self._run(self._spend, name, *triples)
        return answer.decode()

    def spent(self) -> Use:
        """What the job has used so far."""
        found: Any = self._connection.hmget(agent_spent_key(self._job_id), list(vars(Use())))
        return Use(**{name: int(value or 0) for name, value in zip(vars(Use()), found, strict=True)})

    def ask(self, question: Mapping[str, Json]) -> bool:
        """Show a question to those who read the job; ``False`` if the job is no longer this execution's."""
        return bool(self._run(self._ask, json.dumps(question)))

    def told(self, after: int) -> list[dict[str, Any]]:
        """What people told the job, but for the first ``after`` of it."""
        found: Any = self._connection.lrange(agent_inputs_key(self._job_id), after, -1)
        return [json.loads(text) for text in found]

    def is_cancel_requested(self) -> bool:
        """Whether a client has canceled the job, or it has ended otherwise: its jobs are not needed any more."""
        found: Any = self._connection.hmget(record_key(self._job_id), "status", "cancel_requested")
        status, flag = found
        return flag == b"1" or status not in (b"queued", b"running")

    def _run(self, script: Any, *arguments: object) -> Any:
        return script(keys=self._keys, args=[repr(time.time()), 0, self._execution_id, *arguments])


def _keys(job_id: str) -> list[str]:
    return [record_key(job_id), events_key(job_id), watched_key(job_id)]


async def tell_agent(connection: AsyncRedis, job_id: str, text: str, question_id: str | None) -> Told:
    """Tell an agent job what a person says, as the answer to its question if it has one.

    Args:
        question_id: that of the question that is answered; the text is refused if the job does not ask it now.
    """
    said = json.dumps({"event": "input", "question": question_id, "text": text})
    tell = connection.register_script(scripts.tell())
    answer: Any = await tell(keys=_keys(job_id), args=[repr(time.time()), 0, question_id or "", said, INPUTS_MAX])
    told: Told = answer.decode()
    return told

"""The recorded steps of an agent job: what was done is never done again, in whichever worker the job goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from anyio import to_thread

from models.jobs.results import Json
from service.backbone.agent_jobs import AgentRecord, Most, Use
from workers.agent.errors import BudgetSpent, ExecutionLost, StepsDiverged

MODEL, TOOL, SEARCH, INPUT, PLAN = "model", "tool", "search", "input", "plan"
COUNTED = (MODEL, TOOL, SEARCH)
"""The kinds of steps that the budget counts."""
REPLAYED = (MODEL, SEARCH, INPUT, PLAN)
"""The kinds of steps that a replay takes from the earlier job: what a model and people said, and what was found."""
_LEFT = {
    "steps": "all steps of its budget are taken",
    "images": "all images of its budget are drawn",
    "step_px": "the cost units of its budget are used up",
    "seconds": "the seconds of its budget have passed",
}


class RecordedSteps:
    """The steps of one execution; the protocol is ``workers.agent.seams.Steps``.

    Args:
        earlier: the steps of the job that is replayed, by their keys.
        report: is told how many steps are taken that the budget counts.
    """

    def __init__(
        self,
        record: AgentRecord,
        most: Most,
        seconds: float,
        earlier: Mapping[str, Any] | None = None,
        report: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._record, self._most, self._seconds = record, most, seconds
        self._earlier, self._report = earlier or {}, report
        self._kept: dict[str, Any] = {}
        self._used_s, self._began_at = 0.0, time.monotonic()
        self._number = 0

    async def open(self) -> None:
        """Read what earlier executions of the job have done."""
        self._kept = await to_thread.run_sync(self._record.steps)
        self._number = 1 + max((step["number"] for step in self._kept.values()), default=-1)
        self._used_s = sum(float(step["took_s"]) for step in self._kept.values() if step["kind"] != INPUT)

    @property
    def all(self) -> dict[str, Any]:
        """All steps so far by their keys, in their order: kind, request, result, and the seconds that each took."""
        return dict(sorted(self._kept.items(), key=lambda item: item[1]["number"]))

    def has(self, key: str) -> bool:
        """Whether the step is taken."""
        return key in self._kept

    def is_replayed(self, key: str, kind: str) -> bool:
        """Whether the result of the step is that of the job that is replayed."""
        return kind in REPLAYED and key in self._earlier

    async def step(self, key: str, kind: str, request: Json, do: Callable[[], Awaitable[Json]]) -> Json:
        """As ``Steps.step``.

        Raises:
            StepsDiverged, BudgetSpent: as there.
            ExecutionLost: nothing of the step is kept.
        """
        digest = _digest(kind, request)
        if (found := self._kept.get(key)) is not None:
            if found["digest"] != digest:
                raise StepsDiverged(f"the record of this job has another step at {key}")
            return found["result"]  # type: ignore[no-any-return]
        if kind in COUNTED:
            await self.spend(key, Use())
        began_at = time.monotonic()
        result = self._earlier[key]["result"] if self.is_replayed(key, kind) else await do()
        self._number += 1
        step = {
            "number": self._number - 1, "kind": kind, "digest": digest, "request": request, "result": result,
            "at": round(time.time(), 3), "took_s": round(time.monotonic() - began_at, 3),
        }  # fmt: skip
        if not await to_thread.run_sync(self._record.keep_step, key, step):
            raise ExecutionLost("the job has ended, or another worker runs it")
        self._kept[key] = step
        self._report(sum(each["kind"] in COUNTED for each in self._kept.values()))
        return result

    async def spend(self, key: str, use: Use) -> None:
        """Take from the budget what the step ``key`` uses, once, whoever takes it; raises :class:`BudgetSpent`."""
        self.require_time()
        answer = await to_thread.run_sync(self._record.spend, key, use, self._most)
        if answer == "over":
            raise ExecutionLost("the job has ended, or another worker runs it")
        if answer != "go":
            raise BudgetSpent(_LEFT[answer])

    def require_time(self) -> None:
        """Raise :class:`BudgetSpent` if no seconds are left."""
        if self.seconds_left <= 0:
            raise BudgetSpent(_LEFT["seconds"])

    @property
    def seconds_left(self) -> float:
        """The seconds of work that the budget has left."""
        return self._seconds - self._used_s - (time.monotonic() - self._began_at)

    def not_counted(self, seconds: float) -> None:
        """Leave out of the budget the time that the job waited for a person."""
        self._used_s -= seconds


def _digest(kind: str, request: Json) -> str:
    text = json.dumps([kind, request], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]

"""What an agent job asks people, and what they tell it; each answer and each remark is a recorded step."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from anyio import to_thread

from models.jobs.results import Json
from service.backbone.agent_jobs import AgentRecord
from workers.agent.errors import ExecutionLost
from workers.agent.steps import INPUT, RecordedSteps

_LOOKED_EVERY_S = 0.25
QUESTION_MAX_CHARS, CHOICES_MAX, CHOICE_MAX_CHARS, IMAGES_MAX = 1_000, 8, 200, 16


class People:
    """The people behind one agent job."""

    def __init__(self, record: AgentRecord, steps: RecordedSteps) -> None:
        self._record, self._steps = record, steps
        self._taken: dict[str, int] = {}
        """How much each step took of what people told this job."""
        self._asking = asyncio.Lock()

    async def ask(self, key: str, question: str, choices: Sequence[str], images: Sequence[str]) -> str:
        """The answer to a question; waits for it as long as it takes, which the budget does not count.

        Args:
            images: the ids of stored images that the question is about.
        """
        asked: dict[str, Json] = {
            "event": "question", "id": key, "question": question[:QUESTION_MAX_CHARS],
            "choices": [choice[:CHOICE_MAX_CHARS] for choice in choices[:CHOICES_MAX]],
            "images": list(images[:IMAGES_MAX]),
        }  # fmt: skip

        async def answer() -> Json:
            if told := await self._told():  # the answer came while no worker ran the job
                return told[0]
            if not await to_thread.run_sync(self._record.ask, asked):
                raise ExecutionLost("the job has ended, or another worker runs it")
            began_at = time.monotonic()
            try:
                while not (told := await self._told()):
                    await asyncio.sleep(_LOOKED_EVERY_S)
            finally:
                self._steps.not_counted(time.monotonic() - began_at)
            return told[0]

        async with self._asking:  # one question at a time
            request: Json = {"question": asked["question"], "choices": asked["choices"]}
            said = await self._steps.step(key, INPUT, request, answer)
            self._count(key, 1)
        return str(said)

    async def remarks(self, key: str) -> list[str]:
        """What people said without being asked, since the last time."""

        async def told() -> Json:
            return [*await self._told()]

        said = await self._steps.step(key, INPUT, None, told)
        assert isinstance(said, list)
        self._count(key, len(said))
        return list(map(str, said))

    def _count(self, key: str, taken: int) -> None:
        """Count what people told this job, once for each step: a plan may come by the same step again.

        What a replay takes from the earlier job is not among it.
        """
        if not self._steps.is_replayed(key, INPUT):
            self._taken[key] = taken

    async def _told(self) -> list[str]:
        return [each["text"] for each in await to_thread.run_sync(self._record.told, sum(self._taken.values()))]

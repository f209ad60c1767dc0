"""The planner of templates: the plan has all calls, and what people say changes the slots that it follows from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from models.agent.calls import Call, ToolResult, ToolSpec
from models.agent.checks import Verdict
from models.agent.feedback import ASK, changes_between, slots_after
from models.agent.plan import Plan, PlanChange, Subtask
from models.agent.templates.improve import KEEP
from models.agent.templates.template import Template
from models.jobs.results import Json
from workers.agent.seams import Performed, Situation, Toolbox


class TemplatePlanner:
    """Performs the plan of a template; the protocol is ``workers.agent.seams.Planner``.

    Args:
        slots: what fills the template.
        files: the names of the files that the job starts with.
    """

    def __init__(self, template: Template, slots: Mapping[str, Json], files: Sequence[str], seed: int) -> None:
        self._template, self._slots = template, {**slots}
        self._files, self._seed = files, seed
        self._heard = 0
        self._plan = self._planned()

    async def plan(self, key: str, situation: Situation, tools: Sequence[ToolSpec]) -> Plan:
        return self._plan

    async def prepare(self, upcoming: Sequence[Subtask], toolbox: Toolbox) -> None:
        """Make the calls of the first tries of subtasks that do not need each other, all at once.

        All of them end before this raises what one of them raised, so that no image that is paid for is lost.
        """
        calls = (toolbox.call(*each) for subtask in upcoming for each in _calls(subtask, 1))
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def perform(
        self, key: str, subtask: Subtask, situation: Situation, toolbox: Toolbox, tried: int
    ) -> Performed:
        """Make the calls of the try, one after the other; the first one that fails ends it."""
        answers: list[str] = []
        for place, call in _calls(subtask, tried + 1):
            result = await toolbox.call(place, call)
            if call.tool == ASK:
                answers.append(_answer(result))
            elif result.error is not None:
                return Performed(summary=subtask.goal, error=result.error)
        return Performed(summary=subtask.goal, said=tuple(answers))

    async def refine(
        self, key: str, plan: Plan, subtask: Subtask, verdicts: Sequence[Verdict], situation: Situation
    ) -> tuple[PlanChange, ...]:
        """What is different in the plan after what people have said since the last time; nothing else changes it."""
        news, self._heard = situation.feedback[self._heard :], len(situation.feedback)
        if not news:
            return ()
        self._slots = slots_after(self._template, self._slots, news)
        return changes_between(plan, self._planned())

    def _planned(self) -> Plan:
        return self._template.plan(self._slots, self._files, self._seed)


def _calls(subtask: Subtask, number: int) -> list[tuple[str, Call]]:
    """The calls of a try, each with the key of its step."""
    calls = subtask.calls_of(number - 1)
    version = f"{subtask.id}/version-{subtask.refinements}/try-{number}"
    return [(f"{version}/call-{place}", call) for place, call in enumerate(calls, 1)]


def _answer(result: ToolResult) -> str:
    """What a person answered; where nobody may be asked, nobody wants anything else."""
    return KEEP if result.error is not None else str(result.facts.get("answer", KEEP))

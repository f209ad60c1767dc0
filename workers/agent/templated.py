"""The planner of templates: the plan has all calls, so that a try makes them and nothing is left to think."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from models.agent.calls import Call, ToolSpec
from models.agent.checks import Verdict
from models.agent.plan import Plan, PlanChange, Subtask
from workers.agent.seams import Performed, Situation, Toolbox


class TemplatePlanner:
    """Performs a plan that a template made; the protocol is ``workers.agent.seams.Planner``."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    async def plan(self, key: str, situation: Situation, tools: Sequence[ToolSpec]) -> Plan:
        return self._plan

    async def perform(
        self, key: str, subtask: Subtask, situation: Situation, toolbox: Toolbox, tried: int
    ) -> Performed:
        """Make the calls of the try, all at once if they do not need each other."""
        calls = [(f"{key}/call-{number}", call) for number, call in enumerate(subtask.calls_of(tried), 1)]
        if subtask.is_parallel:
            errors = await asyncio.gather(*(_error(toolbox, *each) for each in calls))
            error = next((each for each in errors if each is not None), None)
        else:
            error = None
            for each in calls:
                if (error := await _error(toolbox, *each)) is not None:
                    break
        return Performed(summary=subtask.goal, error=error)

    async def refine(
        self, key: str, plan: Plan, subtask: Subtask, verdicts: Sequence[Verdict], situation: Situation
    ) -> tuple[PlanChange, ...]:
        return ()


async def _error(toolbox: Toolbox, key: str, call: Call) -> str | None:
    return (await toolbox.call(key, call)).error

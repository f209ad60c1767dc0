"""What the parts of an agent job are to each other: recorded steps, tools that can be called, and a planner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.agent.calls import Call, ToolResult, ToolSpec
from models.agent.checks import Verdict
from models.agent.plan import Plan, PlanChange, Subtask
from models.jobs.results import Json


class Steps(Protocol):
    """The record of an agent job: whatever is not decided by earlier steps happens in a step, once."""

    async def step(self, key: str, kind: str, request: Json, do: Callable[[], Awaitable[Json]]) -> Json:
        """The recorded result of the step ``key``; without one, that of ``do()``, which is recorded first.

        Args:
            key: names the step by its place in the work, as in ``1.2/try-1/model-3``, and never twice in one job.
            kind: ``model``, ``tool``, ``search``, ``input`` or ``plan``.
            request: what the step is asked; a recorded step with another request does not fit and raises.

        Raises:
            StepsDiverged: the record has another step there.
            BudgetSpent: the budget has no room for the step.
        """
        ...


class Toolbox(Protocol):
    """The tools of an agent job: those that run jobs, and those of its sandbox."""

    @property
    def specs(self) -> Sequence[ToolSpec]:
        """All tools."""
        ...

    async def call(self, key: str, call: Call) -> ToolResult:
        """Call a tool as the recorded step ``key``; what goes wrong is the result's ``error``.

        Raises:
            BudgetSpent: the budget has no room for the call.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a planner is told, beside the subtask."""

    brief: str
    files: Mapping[str, str]
    """The files of the workspace: path, and a few words about each."""
    feedback: tuple[str, ...] = ()
    """What people said since the job began, in order."""
    not_passed: tuple[str, ...] = ()
    """What the checks found in the last try of the subtask that is performed, if it did not pass."""


@dataclass(frozen=True, kw_only=True)
class Performed:
    """What became of one try of a subtask."""

    summary: str
    error: str | None = None
    """Why the try ended without a result."""
    said: tuple[str, ...] = ()
    """What people answered to questions about the further plan."""


class Planner(Protocol):
    """Who plans: a template, or a language model that calls tools."""

    async def plan(self, key: str, situation: Situation, tools: Sequence[ToolSpec]) -> Plan:
        """The first plan."""
        ...

    async def prepare(self, upcoming: Sequence[Subtask], toolbox: Toolbox) -> None:
        """Begin with subtasks that do not need each other, before each of them is performed; may do nothing."""
        ...

    async def perform(
        self, key: str, subtask: Subtask, situation: Situation, toolbox: Toolbox, tried: int
    ) -> Performed:
        """Do one subtask by calling tools; ``tried`` tries before this one did not pass its milestones."""
        ...

    async def refine(
        self, key: str, plan: Plan, subtask: Subtask, verdicts: Sequence[Verdict], situation: Situation
    ) -> tuple[PlanChange, ...]:
        """What to change in the plan after ``subtask`` was tried in vain, or after feedback came."""
        ...

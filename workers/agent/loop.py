"""The loop of an agent job: plan, do one subtask after the other, check it by tools, try again, refine, go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from models.agent.checks import Verdict
from models.agent.plan import DOING, DONE, FAILED, TODO, Plan, PlanChange, Subtask
from models.agent.refusals import PlanRefused
from models.errors import quoted
from models.jobs.results import Json
from workers.agent.errors import BudgetSpent
from workers.agent.people import People
from workers.agent.seams import Performed, Planner, Situation
from workers.agent.toolbox import AgentTools, Places

TRIES = 3
"""How often a subtask is tried before the plan is refined."""


@dataclass(frozen=True, kw_only=True)
class Try:
    """One try of a subtask."""

    subtask: str
    """Its id."""
    number: int
    performed: Performed
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        return self.performed.error is None and all(verdict.passed for verdict in self.verdicts)

    @property
    def rank(self) -> tuple[bool, int]:
        """Greater for a better try."""
        return self.performed.error is None, sum(verdict.passed for verdict in self.verdicts)


@dataclass(kw_only=True)
class Course:
    """How the job went so far."""

    plan: Plan | None = None
    tries: list[Try] = field(default_factory=list)
    feedback: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """What people said that changed nothing."""
    ended_early: str | None = None
    """Why not all of the plan was done, if the budget was used up."""

    @property
    def is_complete(self) -> bool:
        """Whether all of the plan was done, and passed its checks, of which there was one at least."""
        if self.plan is None or self.plan.next() is not None or self.plan.failures or self.ended_early:
            return False
        return any(attempt.verdicts for attempt in self.tries)


class AgentLoop:
    """Runs one agent job; everything that it does follows from recorded steps.

    Args:
        files: the files that the job starts with, each with a few words about it.
        tell: adds an event to those of the job.
    """

    def __init__(
        self,
        planner: Planner,
        tools: AgentTools,
        people: People,
        brief: str,
        files: Mapping[str, str],
        tell: Callable[[Mapping[str, Json]], None],
    ) -> None:
        self._planner, self._tools, self._people = planner, tools, people
        self._brief, self._files, self._tell = brief, files, tell
        self.course = Course()

    async def run(self) -> Course:
        """Work until the plan is done or the budget is used up.

        Raises:
            PlanRefused: there is no plan for the brief.
        """
        try:
            await self._run()
        except BudgetSpent as error:
            self.course.ended_early = str(error)
            self._tell({"event": "budget", "message": str(error)})
        return self.course

    async def _run(self) -> None:
        self._set_plan(await self._planner.plan("plan", self._situation(), self._tools.specs))
        turn = 0
        while (subtask := self._plan.next()) is not None:
            turn += 1
            remarks = await self._people.remarks(f"turn-{turn}/remarks")
            if remarks:
                await self._hear(f"turn-{turn}", remarks)
            elif said := await self._do(subtask):
                await self._hear(f"turn-{turn}", said)

    async def _hear(self, key: str, said: Sequence[str]) -> None:
        """Let the planner change the rest of the plan by what people said."""
        self.course.feedback += said
        subtask = self._plan.next()
        changes = () if subtask is None else await self._planner.refine(key, self._plan, subtask, (), self._situation())
        self._apply(changes)
        if not changes:
            warning = f"nothing in the plan was changed after {', '.join(map(quoted, said))}"
            self.course.warnings.append(warning)
            self._tell({"event": "warning", "message": warning})

    @property
    def _plan(self) -> Plan:
        assert self.course.plan is not None
        return self.course.plan

    def _not_passed(self, subtask_id: str) -> tuple[str, ...]:
        """What the checks of the last try of a subtask found."""
        last = next((each for each in reversed(self.course.tries) if each.subtask == subtask_id), None)
        return () if last is None else tuple(each.sentence for each in last.verdicts if not each.passed)

    def _situation(self, not_passed: tuple[str, ...] = ()) -> Situation:
        files = {
            name: self._files.get(name, "made by this job") for name in sorted({*self._files, *self._tools.places})
        }
        return Situation(brief=self._brief, files=files, feedback=tuple(self.course.feedback), not_passed=not_passed)

    async def _do(self, subtask: Subtask) -> Sequence[str]:
        """Try a subtask; what a try that failed has written is undone, but for the best try of those that failed.

        Returns:
            What people said meanwhile that concerns the rest of the plan.
        """
        await self._prepare(subtask)
        before = dict(self._tools.places)
        best: tuple[Try, Places] | None = None
        for number in range(TRIES):
            attempt = await self._attempt(subtask.id)
            if attempt.passed:
                self._mark(subtask.id, DONE)
                return attempt.performed.said
            if best is None or attempt.rank > best[0].rank:
                best = attempt, dict(self._tools.places)
            await self._tools.restore(before)
            if number == TRIES - 1 or not self._plan.find(subtask.id).has_tries_left:
                break
            self._mark(subtask.id, TODO)
        assert best is not None
        await self._tools.restore(best[1])
        self._mark(subtask.id, FAILED)
        await self._refine(subtask.id, best[0])
        return ()

    async def _prepare(self, subtask: Subtask) -> None:
        """Begin with this subtask and with those behind it that need no other one, as far as none was tried."""
        leaves = [each for each in self._plan.leaves() if each.status == TODO]
        upcoming = list(takewhile(lambda each: each.is_parallel and each.tries == 0, leaves))
        if len(upcoming) > 1:
            await self._planner.prepare(upcoming, self._tools)

    async def _attempt(self, subtask_id: str) -> Try:
        tried = self._plan.find(subtask_id).tries
        self._mark(subtask_id, DOING)
        subtask = self._plan.find(subtask_id)
        key = f"{subtask.id}/try-{subtask.tries}"
        situation = self._situation(self._not_passed(subtask_id))
        performed = await self._planner.perform(key, subtask, situation, self._tools, tried)
        verdicts = () if performed.error is not None else await self._checked(key, subtask)
        attempt = Try(subtask=subtask.id, number=subtask.tries, performed=performed, verdicts=verdicts)
        self.course.tries.append(attempt)
        self._tell({
            "event": "check", "subtask": subtask.id, "try": subtask.tries, "passed": attempt.passed,
            "error": performed.error, "verdicts": [verdict.to_payload() for verdict in verdicts],
        })  # fmt: skip
        return attempt

    async def _checked(self, key: str, subtask: Subtask) -> tuple[Verdict, ...]:
        verdicts = []
        for number, check in enumerate(subtask.milestones, 1):
            calls = enumerate(check.calls(), 1)
            results = [await self._tools.call(f"{key}/check-{number}.{place}", call) for place, call in calls]
            verdicts.append(check.verdict(results))
        return tuple(verdicts)

    async def _refine(self, subtask_id: str, best: Try) -> None:
        """Let the planner change the plan after a subtask was tried in vain; otherwise the subtask has failed."""
        subtask = self._plan.find(subtask_id)
        key = f"{subtask.id}/try-{subtask.tries}/refine"
        self._apply(await self._planner.refine(key, self._plan, subtask, best.verdicts, self._situation()))

    def _apply(self, changes: Sequence[PlanChange]) -> None:
        """Change the plan; changes that break its rules are told and left out."""
        for change in changes:
            try:
                plan = self._plan.apply(change)
            except PlanRefused as error:
                self._tell({"event": "change", "change": change.to_payload(), "refused": str(error)})
            else:
                self._tell({"event": "change", "change": change.to_payload(), "refused": None})
                self._set_plan(plan)

    def _mark(self, subtask_id: str, status: str) -> None:
        self.course.plan = self._plan.mark(subtask_id, status)
        self._tell({"event": "subtask", "subtask": subtask_id, "status": status})

    def _set_plan(self, plan: Plan) -> None:
        self.course.plan = plan
        self._tell({"event": "plan", "plan": _shown(plan)})


def _shown(plan: Plan) -> Json:
    """The plan as clients are told it: without the calls of templates, which are told when they are made."""
    return [_shown_subtask(each) for each in plan.subtasks]


def _shown_subtask(subtask: Subtask) -> Json:
    shown = replace(subtask, calls=(), retry_calls=(), children=()).to_payload()
    for name in ("calls", "retry_calls", "is_parallel", "children"):
        shown.pop(name, None)
    return shown | {"children": [_shown_subtask(child) for child in subtask.children]}

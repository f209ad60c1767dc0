"""The free planner: a language model that plans, acts by tools, reflects, and refines the plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic_ai.models import Model
from pydantic_ai.tools import DeferredToolRequests

from models.agent.calls import ToolSpec
from models.agent.checks import Verdict
from models.agent.plan import GOAL_MAX_CHARS, Plan, PlanChange, Subtask
from workers.agent.errors import NoUsefulAnswer
from workers.agent.seams import Performed, Situation, Steps, Toolbox
from workers.agent.thinking.conversation import Conversation
from workers.agent.thinking.outputs import Output, changes_output, plan_output
from workers.agent.thinking.performing import Limits, Performance
from workers.agent.thinking.prompts import REFINING, planning, to_perform, to_plan, to_refine
from workers.agent.thinking.recorded_model import Allowance, RecordedModel

REQUESTS_MAX = 200
SMALL_CONTEXT_TOKENS = 16_384
"""Models with a smaller context get shorter schemas."""
_Read = TypeVar("_Read")


class FreePlanner:
    """A planner of one job; see :class:`workers.agent.seams.Planner`.

    The only errors that leave it are those of :mod:`workers.agent.errors`. A model that fails, or gives no useful
    answer, makes a plan of one subtask, a try with an error, or no changes.
    """

    def __init__(
        self,
        model: Model,
        steps: Steps,
        *,
        limits: Limits | None = None,
        requests_max: int = REQUESTS_MAX,
    ) -> None:
        """
        Args:
            model: any model of pydantic-ai, such as :class:`EngineModel`.
            requests_max: of requests to the language model in the job.
        """
        self._model = model
        self._steps = steps
        self._limits = limits or Limits()
        self._allowance = Allowance(requests_max)
        self._last_tries: dict[str, tuple[str, ...]] = {}
        self._is_short = (model.context_window or SMALL_CONTEXT_TOKENS) < SMALL_CONTEXT_TOKENS

    async def plan(self, key: str, situation: Situation, tools: Sequence[ToolSpec]) -> Plan:
        """The plan of the model; without a useful one, the whole brief as one subtask."""
        try:
            return await self._asked(key, planning(tools), plan_output(is_short=self._is_short), to_plan(situation))
        except NoUsefulAnswer as error:
            why = f"There is no plan: {error}"[:GOAL_MAX_CHARS]
            return Plan.of(Subtask(name="the whole brief", goal="Make what the brief asks for.", criticism=why))

    async def prepare(self, upcoming: Sequence[Subtask], toolbox: Toolbox) -> None:
        """Nothing: the model finds the calls of a subtask one after the other."""

    async def perform(
        self, key: str, subtask: Subtask, situation: Situation, toolbox: Toolbox, tried: int
    ) -> Performed:
        """One try of ``subtask``; a further one is told what the last one did.

        Where the model has written files but does not say that it is done, the checks decide.
        """
        performance = Performance(
            key, self._recorded(key), toolbox, self._limits, tools=subtask.tools, is_short=self._is_short
        )
        message = to_perform(subtask, situation, self._last_tries.get(subtask.id, ()), self._limits.calls)
        try:
            performed = await performance.run(message)
        except NoUsefulAnswer as error:
            is_for_checks = performance.has_written and bool(subtask.milestones)
            performed = Performed(summary=str(error), error=None if is_for_checks else str(error))
        self._last_tries[subtask.id] = (*performance.made, performed.error or performed.summary)
        return performed

    async def refine(
        self, key: str, plan: Plan, subtask: Subtask, verdicts: Sequence[Verdict], situation: Situation
    ) -> tuple[PlanChange, ...]:
        """The changes of the model, which can be applied to ``plan`` in their order; none without useful ones."""
        message = to_refine(plan, subtask, verdicts, situation)
        try:
            return await self._asked(key, REFINING, changes_output(plan, is_short=self._is_short), message)
        except NoUsefulAnswer:
            return ()

    async def _asked(self, key: str, instructions: str, output: Output[_Read], message: str) -> _Read:
        conversation = Conversation(self._recorded(key), instructions, output, corrections_max=self._limits.corrections)
        answer = await conversation.ask(message)
        assert not isinstance(answer, DeferredToolRequests)  # there are no tools beside the output
        return answer

    def _recorded(self, key: str) -> RecordedModel:
        return RecordedModel(self._model, self._steps, key, self._allowance)

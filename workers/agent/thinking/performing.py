"""One try of a subtask: the model calls tools, reads their results, and finishes (ReAct)."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from pydantic_ai import ToolDenied, ToolFailed
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolApproved

from models.agent.calls import Call, ToolSpec
from models.errors import PhotogramError
from models.language.schemas import violations, without_optional_nulls
from models.language.tools.arguments import checked
from models.language.tools.types import ToolCallError
from workers.agent.seams import Performed, Toolbox
from workers.agent.thinking.conversation import Conversation
from workers.agent.thinking.outputs import FINISH
from workers.agent.thinking.prompts import PERFORMING, of_result
from workers.agent.thinking.toolset import JobToolset

ASK, YES, NO = "ask", "yes", "no"
"""The tool that asks a person, and the choices of an approval."""
SAME_CALLS_MAX = 2
"""How often one call with the same arguments is made in one try."""
_QUESTION_MAX_CHARS = 400


class _Unusable(PhotogramError):
    """A call that is not made; the message is for the model."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one try."""

    calls: int = 12
    """Of tools; the call that finishes is not counted."""
    corrections: int = 4
    """Answers that cannot be used."""


class Performance:
    """One try; its steps are ``KEY/model-N``, ``KEY/call-N`` and ``KEY/approval-N``."""

    def __init__(self, key: str, model: Model, toolbox: Toolbox, limits: Limits, *, must_approve: bool) -> None:
        self._key = key
        self._toolbox = toolbox
        self._limits = limits
        self._specs = {spec.name: spec for spec in toolbox.specs}
        self._must_approve = must_approve
        self._approved: dict[str, str | ToolFailed] = {}
        self._calls = self._approvals = 0
        self._made: Counter[str] = Counter()
        toolset = JobToolset(tuple(toolbox.specs), needs_approval=self._needs_approval, approved=self._approved)
        self._conversation = Conversation(
            model, PERFORMING, FINISH, corrections_max=limits.corrections, toolsets=[toolset]
        )

    async def run(self, message: str) -> Performed:
        """Do it.

        Raises:
            NoUsefulAnswer: the model failed, or called no tool that could be used too often.
        """
        answer = await self._conversation.ask(message)
        while isinstance(answer, DeferredToolRequests):
            answer = await self._conversation.continue_with(await self._results(answer))
        return answer

    def _needs_approval(self, spec: ToolSpec) -> bool:
        return self._must_approve and spec.spends

    async def _results(self, requests: DeferredToolRequests) -> DeferredToolResults:
        results = DeferredToolResults()
        for part in requests.calls:
            results.calls[part.tool_call_id] = await self._result(part)
        for part in requests.approvals:
            results.approvals[part.tool_call_id] = await self._approval(part)
        return results

    async def _result(self, part: ToolCallPart) -> str | ToolFailed:
        try:
            return await self._made_call(self._call(part))
        except _Unusable as error:
            self._conversation.correct(str(error))
            return ToolFailed(str(error))

    async def _approval(self, part: ToolCallPart) -> ToolApproved | ToolDenied:
        """Make the call if a person allows it."""
        try:
            call = self._call(part)
        except _Unusable as error:
            self._conversation.correct(str(error))
            return ToolDenied(str(error))
        if (objection := await self._objection(call)) is not None:
            self._conversation.correct(objection)
            return ToolDenied(objection)
        self._approved[part.tool_call_id] = await self._made_call(call)
        return ToolApproved()

    def _call(self, part: ToolCallPart) -> Call:
        """The call, if it can be made.

        Raises:
            _Unusable.
        """
        schema = self._specs[part.tool_name].parameters
        try:
            arguments = without_optional_nulls(schema, checked(part.args_as_dict(raise_if_invalid=True)))
        except (ToolCallError, ValueError, AssertionError) as error:
            raise _Unusable(f"the arguments cannot be used: {error}") from error
        if found := violations(schema, arguments):
            raise _Unusable("; ".join(found))
        if self._made[_same(part.tool_name, arguments)] == SAME_CALLS_MAX:
            raise _Unusable(f"this call was made {SAME_CALLS_MAX} times already: do something else, or finish")
        if self._calls == self._limits.calls:
            raise _Unusable(f"all {self._calls} calls of this try are made: call {FINISH.name}")
        return Call(tool=part.tool_name, arguments=arguments)

    async def _made_call(self, call: Call) -> str | ToolFailed:
        self._calls += 1
        self._made[_same(call.tool, call.arguments)] += 1
        result = await self._toolbox.call(f"{self._key}/call-{self._calls}", call)
        text = of_result(result, self._limits.calls - self._calls)
        return text if result.error is None else ToolFailed(text)

    async def _objection(self, call: Call) -> str | None:
        """Why a person does not allow the call; ``None`` if one does."""
        if ASK not in self._specs:
            return "the call needs the approval of a person, and nobody can be asked"
        self._approvals += 1
        shown = _same(call.tool, call.arguments)[:_QUESTION_MAX_CHARS]
        question = Call(tool=ASK, arguments={"question": f"May this call be made? {shown}", "choices": [YES, NO]})
        result = await self._toolbox.call(f"{self._key}/approval-{self._approvals}", question)
        answer = result.error or str(result.facts.get("answer", NO))
        return (
            None if answer.strip().lower() == YES and result.error is None else f"a person did not allow it: {answer}"
        )


def _same(tool: str, arguments: dict[str, Any]) -> str:
    return f"{tool} {json.dumps(arguments, sort_keys=True, ensure_ascii=False)}"

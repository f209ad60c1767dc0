"""One try of a subtask: the model calls tools, reads their results, and finishes (ReAct)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from pydantic_ai import ToolFailed
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolDefinition
from pydantic_ai.toolsets import ExternalToolset

from models.agent.calls import Call, ToolSpec
from models.errors import PhotogramError
from models.language.budget import estimate
from models.language.schemas import violations, without_optional_nulls
from models.language.tools.arguments import checked
from models.language.tools.types import ToolCallError
from workers.agent.seams import Performed, Toolbox
from workers.agent.thinking.conversation import Conversation
from workers.agent.thinking.outputs import FINISH
from workers.agent.thinking.prompts import PERFORMING, of_result
from workers.agent.thinking.schemas import shown

ASK = "ask"
"""The tool that asks a person."""
TOOLS_MAX_TOKENS = 1_300
"""Of the tools that are offered to a model with a small context."""
SAME_CALLS_MAX = 2
"""How often one call with the same arguments is made in one try."""


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
    """One try; its steps are ``KEY/model-N`` and ``KEY/call-N``.

    The tools are external ones of pydantic-ai: it gives their calls back, and goes on with their results.
    """

    def __init__(
        self, key: str, model: Model, toolbox: Toolbox, limits: Limits, *, tools: Sequence[str], is_short: bool
    ) -> None:
        """
        Args:
            tools: the names of the tools that the plan wants; where none of them is there, all are offered.
            is_short: whether the model has a small context; then no more tools are offered than fit in it.
        """
        self._key = key
        self._toolbox = toolbox
        self._limits = limits
        self._specs = {spec.name: spec for spec in toolbox.specs}
        self._calls = 0
        self._made: Counter[str] = Counter()
        self._said: list[str] = []
        self.made: list[str] = []
        """Each call that was made, and how it ended, for the next try."""
        self.has_written = False
        """Whether a call has written files."""
        offered = _offered(toolbox.specs, tools, is_short)
        toolset: ExternalToolset[None] = ExternalToolset([_definition(spec, is_short) for spec in offered])
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
            results = DeferredToolResults()
            for part in answer.calls:
                results.calls[part.tool_call_id] = await self._result(part)
            answer = await self._conversation.continue_with(results)
        return replace(answer, said=tuple(self._said))

    async def _result(self, part: ToolCallPart) -> str | ToolFailed:
        try:
            call = self._call(part)
        except _Unusable as error:
            self._conversation.correct(str(error))
            return ToolFailed(str(error))
        return await self._made_call(call)

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
        if call.tool == ASK and result.error is None:
            self._said.append(str(result.facts.get("answer", "")))
        self.has_written |= result.error is None and bool(result.files)
        ended = "was made" if result.error is None else f"failed: {result.error}"
        self.made.append(f"{_same(call.tool, call.arguments)} {ended}")
        text = of_result(result, self._limits.calls - self._calls)
        return text if result.error is None else ToolFailed(text)


def _same(tool: str, arguments: dict[str, Any]) -> str:
    return f"{tool} {json.dumps(arguments, sort_keys=True, ensure_ascii=False)}"


def _offered(specs: Sequence[ToolSpec], names: Sequence[str], is_short: bool) -> list[ToolSpec]:
    """The tools of these names, or all; a model with a small context is offered the first of them that fit."""
    wanted = [spec for spec in specs if spec.name in names] or [*specs]
    if not is_short:
        return wanted
    return [
        spec for spec, size in zip(wanted, accumulate(map(_tokens, wanted)), strict=True) if size <= TOOLS_MAX_TOKENS
    ]


def _definition(spec: ToolSpec, is_short: bool) -> ToolDefinition:
    schema = shown(spec.parameters, is_short=is_short)
    return ToolDefinition(name=spec.name, description=spec.description, parameters_json_schema=schema)


def _tokens(spec: ToolSpec) -> int:
    return estimate(json.dumps([spec.name, spec.description, shown(spec.parameters, is_short=True)]))

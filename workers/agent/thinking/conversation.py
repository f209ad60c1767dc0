"""One conversation with the language model up to its structured output, with a bounded number of corrections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from pydantic_ai import Agent, AgentRunResult
from pydantic_ai.exceptions import ModelAPIError, UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.messages import ModelMessage, ModelRequest, RetryFeedbackPart, ToolReturnPart
from pydantic_ai.models import Model
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults
from pydantic_ai.toolsets import AbstractToolset
from pydantic_ai.usage import UsageLimits

from workers.agent.errors import NoUsefulAnswer
from workers.agent.thinking.outputs import Output
from workers.agent.thinking.recorded_model import failure_text, one_line

_Read = TypeVar("_Read")


class Conversation(Generic[_Read]):
    """Asks until there is an output; calls of tools are given to the caller, who continues with their results."""

    def __init__(
        self,
        model: Model,
        instructions: str,
        output: Output[_Read],
        *,
        corrections_max: int,
        toolsets: Sequence[AbstractToolset[None]] = (),
    ) -> None:
        self._agent: Agent[None, object] = Agent(
            model,
            instructions=instructions,
            output_type=[output.spec(), DeferredToolRequests] if toolsets else output.spec(),
            toolsets=toolsets,
            deps_type=type(None),
        )

        @self._agent.output_validator
        def check(found: object) -> object:
            return output.check(found)

        self._output = output
        self._corrections_max = corrections_max
        self._corrections = 0
        self._history: list[ModelMessage] = []

    async def ask(self, message: str) -> _Read | DeferredToolRequests:
        """The first answer.

        Raises:
            NoUsefulAnswer.
        """
        return await self._run(message, None)

    async def continue_with(self, results: DeferredToolResults) -> _Read | DeferredToolRequests:
        """The answer after the calls of tools of the last one.

        Raises:
            NoUsefulAnswer.
        """
        return await self._run(None, results)

    def correct(self, reason: str) -> None:
        """Count an answer that the caller could not use.

        Raises:
            NoUsefulAnswer: there were too many.
        """
        self._corrections += 1
        if self._corrections > self._corrections_max:
            raise NoUsefulAnswer(f"{self._useless()}: {one_line(reason)}")

    async def _run(self, message: str | None, results: DeferredToolResults | None) -> _Read | DeferredToolRequests:
        left = self._corrections_max - self._corrections
        try:
            result = await self._agent.run(
                message,
                deps=None,
                message_history=self._history or None,
                deferred_tool_results=results,
                retries={"tools": left, "output": left},
                usage_limits=UsageLimits(request_limit=left + 1),
            )
        except ModelAPIError as error:
            raise NoUsefulAnswer(f"the language model failed: {failure_text(error)}") from error
        except (UnexpectedModelBehavior, UsageLimitExceeded) as error:
            raise NoUsefulAnswer(self._useless()) from error
        self._corrections += sum(_corrections(message) for message in result.new_messages())
        self._history = result.all_messages()
        return self._read(result)

    def _useless(self) -> str:
        return f"the language model gave no useful answer after {self._corrections_max} corrections"

    def _read(self, result: AgentRunResult[object]) -> _Read | DeferredToolRequests:
        if isinstance(result.output, DeferredToolRequests):
            return result.output
        return self._output.read(result.output)  # type: ignore[arg-type]  # Output.check saw that it is a dictionary


def _corrections(message: ModelMessage) -> int:
    """How many times pydantic-ai told the model that it could not use an answer."""
    if not isinstance(message, ModelRequest):
        return 0
    return sum(
        isinstance(part, RetryFeedbackPart) or (isinstance(part, ToolReturnPart) and part.outcome == "retried")
        for part in message.parts
    )

"""A model whose every request is a recorded step, so that a job that goes on after a kill pays for none twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_ai.exceptions import AgentRunError, ModelAPIError, UnexpectedModelBehavior
from pydantic_ai.messages import ModelMessage, ModelResponse, ModelResponsePart, ToolCallPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from models.jobs.results import Json
from workers.agent.errors import NoUsefulAnswer, StepsDiverged
from workers.agent.seams import Steps
from workers.agent.thinking.turns import call_id

RESPONSE, FAILURE = "response", "failure"
"""The keys of a recorded result: pydantic-ai's response, or why there was none."""
REASON_MAX_CHARS = 300
ASKED_MAX_CHARS = 2000
"""How much of what the model was asked is in the record; its digest covers all of it."""
_DIGESTED = ("part_kind", "content", "tool_name", "args", "tool_call_id", "outcome")
"""What of a part of a message decides the answer; the rest is times, random ids and the like."""
_Responses: TypeAdapter[ModelResponse] = TypeAdapter(ModelResponse)
_Messages: TypeAdapter[list[ModelMessage]] = TypeAdapter(list[ModelMessage])


class Allowance:
    """How many requests a job may still make; recorded ones count as well, so that a replay counts the same."""

    def __init__(self, requests: int) -> None:
        self._requests = self.left = requests

    def take(self) -> None:
        """Count a request.

        Raises:
            NoUsefulAnswer: none was left.
        """
        if self.left <= 0:
            raise NoUsefulAnswer(f"the job's {self._requests} requests to the language model are used up")
        self.left -= 1


class RecordedModel(WrapperModel):
    """The requests of one conversation, as the steps ``KEY/model-1``, ``KEY/model-2`` and so on.

    A failure of the wrapped model is recorded as well: what the job did after it would otherwise not follow from the
    record. Calls of tools get ids that follow from their place.
    """

    def __init__(self, wrapped: Model, steps: Steps, key: str, allowance: Allowance) -> None:
        super().__init__(wrapped)
        self._steps = steps
        self._key = key
        self._allowance = allowance
        self._requests = 0

    def prepare_messages(
        self, messages: list[ModelMessage], model_request_parameters: ModelRequestParameters | None = None
    ) -> list[ModelMessage]:
        """The messages as they are, so that a record does not depend on the wrapped model, which gets its own form."""
        return messages

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """The recorded response, or that of the wrapped model.

        Raises:
            ModelAPIError: the wrapped model failed, now or when the step was recorded.
            NoUsefulAnswer: the job's requests are used up.
            BudgetSpent, StepsDiverged: see :class:`Steps`.
        """
        self._allowance.take()
        self._requests += 1
        nth = 1 + sum(isinstance(message, ModelResponse) for message in messages)

        async def ask() -> Json:
            try:
                prepared = self.wrapped.prepare_messages(messages, model_request_parameters)
                response = await self.wrapped.request(prepared, model_settings, model_request_parameters)
            except (ModelAPIError, UnexpectedModelBehavior) as error:
                return {FAILURE: failure_text(error)}
            outputs = {tool.name for tool in model_request_parameters.output_tools}
            parts = _with_own_ids(_without_early_output(response.parts, outputs), nth)
            numbered = replace(response, parts=parts)
            dumped = json.dumps(_Responses.dump_python(numbered, mode="json"), ensure_ascii=False)
            return {RESPONSE: json.loads(_readable(dumped))}

        key = f"{self._key}/model-{self._requests}"
        request: Json = {"digest": _digest(messages), "asked": _asked(messages[-1])}
        return self._read(key, await self._steps.step(key, "model", request, ask))

    def _read(self, key: str, recorded: Json) -> ModelResponse:
        if isinstance(recorded, dict) and isinstance(failure := recorded.get(FAILURE), str):
            raise ModelAPIError(self.model_name, failure)
        try:
            return _Responses.validate_python(recorded[RESPONSE])  # type: ignore[call-overload, index]
        except (ValidationError, TypeError, KeyError) as error:
            raise StepsDiverged(f"the step {key} has no response of a language model") from error


def failure_text(error: AgentRunError) -> str:
    """Why a request failed."""
    return one_line(str(getattr(error, "message", error)))


def one_line(text: str) -> str:
    """``text`` for people: printable, on one line, and not long."""
    printable = "".join(each if each.isprintable() else " " for each in text[:REASON_MAX_CHARS])
    return " ".join(printable.split())


def _without_early_output(parts: Sequence[ModelResponsePart], outputs: Container[str]) -> list[ModelResponsePart]:
    """``parts`` without an output beside calls of other tools: the model wrote it before it knew their results."""
    calls = [part for part in parts if isinstance(part, ToolCallPart)]
    if all(call.tool_name in outputs for call in calls):
        return list(parts)
    return [part for part in parts if not (isinstance(part, ToolCallPart) and part.tool_name in outputs)]


def _with_own_ids(parts: Sequence[ModelResponsePart], nth: int) -> list[ModelResponsePart]:
    calls = 0
    numbered: list[ModelResponsePart] = []
    for part in parts:
        if isinstance(part, ToolCallPart):
            calls += 1
            part = replace(part, tool_call_id=call_id(nth, calls))
        numbered.append(part)
    return numbered


def _readable(text: str) -> str:
    """``text`` with a question mark for each lone surrogate, which cannot be stored as UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _digest(messages: list[ModelMessage]) -> str:
    """SHA-256 of the conversation so far.

    The instructions and the schemas of tools are left out: they are the server's own, and a later version of it, or
    another catalog, must not keep a recorded job from going on.
    """
    asked = [_essence(message) for message in _Messages.dump_python(messages, mode="json")]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _asked(message: ModelMessage) -> str:
    """What the last message of a conversation says, for readers of the record."""
    texts = [str(getattr(part, "content", "")) for part in message.parts]
    return _readable("\n".join(texts)[:ASKED_MAX_CHARS])


def _essence(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: part[name] for name in _DIGESTED if name in part} for part in message["parts"]]

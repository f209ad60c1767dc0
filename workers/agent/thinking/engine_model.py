"""A model of pydantic-ai over the language engine of the house and the tool dialects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic_ai.exceptions import (
    AgentRunError,
    ModelConnectionError,
    ModelRequestRejectedError,
    ModelTimeoutError,
    UnexpectedModelBehavior,
)
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from models.language.budget import estimate
from models.language.client import Completion, LanguageEngine
from models.language.errors import EngineMisbehaved, EngineTimeout, EngineUnavailable, LanguageError
from models.language.presets import RWKV, Preset
from models.language.tools import DIALECTS
from models.language.tools.types import Tool, ToolTurn, Turn
from workers.agent.thinking.turns import PROVIDER, Untranslatable, parts_of, system_of, tool_of, turns_of

ANSWER_MAX_TOKENS = 1024
TIMEOUT_S = 180.0
"""Of one request."""
PAUSES_S = (1.0, 5.0, 20.0)
"""Before each further attempt while the engine is unavailable, for example because it restarts."""
CONTEXT_TOKENS = 32_768
"""The context of a model whose preset does not say it."""
RWKV_CONTEXT_TOKENS = 4096
"""The length of the texts that RWKV models were trained with; they have no context that could be full."""
_OLD_RESULT_MAX_CHARS = 200
"""What is left of the oldest results of tools where a conversation does not fit the context."""
_CONTEXT_FLAG = "--max-model-len"
_EMPTY_LINES = "\n" * 6
"""What ends an answer: small models that have said all go on with empty lines to the last token that they may write."""
_CUT_OFF = "the answer was cut off after {} tokens: be shorter"


class EngineModel(Model[None]):
    """Each request is one chat completion, whose answer is read by the dialect of the preset.

    Structured outputs are calls of output tools, which every dialect has. The answers are not trusted: what the
    dialect cannot read becomes text with the reason, which the model is told.
    """

    def __init__(
        self,
        engine: LanguageEngine,
        preset: Preset,
        *,
        answer_max_tokens: int = ANSWER_MAX_TOKENS,
        timeout_s: float = TIMEOUT_S,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        context_tokens = _context_tokens(preset)
        super().__init__(
            profile=ModelProfile(
                supports_tools=True, default_structured_output_mode="tool", context_window=context_tokens
            )
        )
        self._engine = engine
        self._preset = preset
        self._dialect = DIALECTS[preset.tool_dialect]
        self._answer_max_tokens = answer_max_tokens
        self._timeout_s = timeout_s
        self._pauses_s = pauses_s
        self._prompt_max_tokens = context_tokens - answer_max_tokens

    @property
    def model_name(self) -> str:
        """The name of the preset; the engine may serve the model by another one."""
        return self._preset.name

    @property
    def system(self) -> str:
        return PROVIDER

    @property
    def provider(self) -> None:
        return None

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Ask the engine.

        Raises:
            ModelConnectionError, ModelTimeoutError: the engine cannot be reached, or is too slow.
            ModelRequestRejectedError: the conversation has what the engine cannot be sent.
            UnexpectedModelBehavior: the engine's response is no chat completion.
        """
        _, parameters = self.prepare_request(model_settings, model_request_parameters)
        tools = [tool_of(each) for each in (*parameters.declared_function_tools, *parameters.output_tools)]
        system = system_of(messages, self._get_instruction_parts(messages, parameters) or ())
        try:
            body = self._body(system, turns_of(messages), tools)
            completion = await self._ask(body)
        except (LanguageError, Untranslatable) as error:
            raise self._translated(error) from error
        nth = 1 + sum(isinstance(message, ModelResponse) for message in messages)
        return self._response(completion, tools, nth)

    def _body(self, system: str, turns: list[Turn], tools: Sequence[Tool]) -> dict[str, Any]:
        """The request, with the oldest results of tools shortened while it does not fit the context."""
        body = self._dialect.body(system, turns, tools)
        old = [place for place, turn in enumerate(turns[:-1]) if isinstance(turn, ToolTurn)]
        while old and _prompt_tokens(body) > self._prompt_max_tokens:
            place = old.pop(0)
            turns[place] = _shortened(turns[place])
            body = self._dialect.body(system, turns, tools)
        return {"stop": [_EMPTY_LINES], **body, **self._preset.sampling, "max_tokens": self._answer_max_tokens}

    async def _ask(self, body: dict[str, Any]) -> Completion:
        for pause_s in self._pauses_s:
            try:
                return await self._engine.chat(body, timeout_s=self._timeout_s)
            except EngineUnavailable:
                await asyncio.sleep(pause_s)
        return await self._engine.chat(body, timeout_s=self._timeout_s)

    def _response(self, completion: Completion, tools: Sequence[Tool], nth: int) -> ModelResponse:
        """The answer; pydantic-ai would end the run on the finish reason ``length``, so it is told as text."""
        events = self._dialect.read(completion, tools, "call")
        cut_off = _CUT_OFF.format(self._answer_max_tokens) if completion.finish_reason == "length" else None
        return ModelResponse(
            parts=parts_of(events, tools, nth, cut_off),
            usage=RequestUsage(input_tokens=completion.prompt_tokens, output_tokens=completion.completion_tokens),
            model_name=self.model_name,
            provider_name=PROVIDER,
        )

    def _translated(self, error: LanguageError | Untranslatable) -> AgentRunError:
        match error:
            case EngineTimeout():
                return ModelTimeoutError(self.model_name, str(error))
            case EngineUnavailable():
                return ModelConnectionError(self.model_name, str(error))
            case EngineMisbehaved():
                return UnexpectedModelBehavior(str(error))
        return ModelRequestRejectedError(self.model_name, str(error))


def _context_tokens(preset: Preset) -> int:
    if _CONTEXT_FLAG in preset.flags:
        return int(preset.flags[preset.flags.index(_CONTEXT_FLAG) + 1])
    return RWKV_CONTEXT_TOKENS if preset.engine == RWKV else CONTEXT_TOKENS


def _prompt_tokens(body: Mapping[str, Any]) -> int:
    return estimate(json.dumps([body["messages"], body.get("tools")], ensure_ascii=False))


def _shortened(turn: Turn) -> Turn:
    if isinstance(turn, ToolTurn) and len(turn.answer) > _OLD_RESULT_MAX_CHARS:
        return replace(turn, answer=f"{turn.answer[:_OLD_RESULT_MAX_CHARS]} ... (shortened)")
    return turn

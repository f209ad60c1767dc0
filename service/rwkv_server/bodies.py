"""The bodies of requests: what of OpenAI's API and vLLM's additions to it is understood, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from models.language.rwkv.sampling import Sampling
from service.api.bodies import parse_json, require_json_type
from service.api.openai.errors import invalid_fields, refused

CHAT_TOKENS = 512
TEXT_TOKENS = 16
"""How long answers get without ``max_tokens``; for plain completions, OpenAI's own number."""
_SEED_BOUND = 2**63
_STOPS_MAX = 16
_ANYTHING_ELSE = "is not supported by this server"
_NO_GRAMMAR = "answers cannot be held to a form by this server"
_NO_TOOLS = "tools are not supported by this server"
_NO_LOGPROBS = "logarithms of probabilities are not told by this server"

NEUTRAL: Mapping[str, Any] = {
    "n": 1,
    "best_of": 1,
    "echo": False,
    "logprobs": False,
    "top_logprobs": 0,
    "tools": [],
    "tool_choice": "none",
    "functions": [],
    "function_call": "none",
    "logit_bias": {},
    "response_format": {"type": "text"},
}
"""Values that ask for nothing, of parameters that are refused otherwise."""
REFUSED: Mapping[str, str] = {
    "n": "only one answer at a time is given by this server",
    "best_of": "only one answer at a time is given by this server",
    **dict.fromkeys(("logprobs", "top_logprobs", "prompt_logprobs"), _NO_LOGPROBS),
    **dict.fromkeys(("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"), _NO_TOOLS),
    **dict.fromkeys(
        ("response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"),
        _NO_GRAMMAR,
    ),
    **dict.fromkeys(("logit_bias", "echo", "suffix", "min_p", "min_tokens", "stop_token_ids"), _ANYTHING_ELSE),
}
"""Parameters that clients know, and why they are refused; any that is in no list is unknown, and refused too."""

_Body = TypeVar("_Body", bound="CompletionBody")
_Stop = Annotated[str, Field(min_length=1, max_length=256)]


class StreamOptions(BaseModel):
    """What a stream tells beside the text."""

    model_config = ConfigDict(extra="forbid", strict=True)
    include_usage: bool = False


class CompletionBody(BaseModel):
    """What both kinds of completions have in common."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=-1, le=1 << 20)
    repetition_penalty: float = Field(1.0, ge=0.1, le=10)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    seed: int | None = Field(None, ge=-_SEED_BOUND, lt=_SEED_BOUND)
    stop: _Stop | Annotated[list[_Stop], Field(max_length=_STOPS_MAX)] = []
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    user: str | None = Field(None, description="Who asks; makes no difference.")

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def sampling(self) -> Sampling:
        """How tokens are to be chosen."""
        return Sampling(
            temperature=self.temperature, top_p=self.top_p, top_k=max(self.top_k, 0),
            repetition_penalty=self.repetition_penalty, presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty, seed=self.seed,
        )  # fmt: skip


class TextBody(CompletionBody):
    """``POST /v1/completions``."""

    prompt: str | list[int]


class TextPart(BaseModel):
    """A part of a message; only text can be read here."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message."""

    model_config = ConfigDict(extra="forbid", strict=True)
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        """All of it."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatBody(CompletionBody):
    """``POST /v1/chat/completions``."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=1024)
    max_completion_tokens: int | None = Field(None, ge=1)
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False


async def read(request: Request, model: type[_Body]) -> _Body:
    """The request's JSON body as ``model``; ``null`` is the same as nothing.

    Raises:
        ApiError: it is no JSON, not of that shape, or asks for what cannot be had here.
    """
    require_json_type(request.headers)
    body = await request.body()
    return await run_in_threadpool(lambda: _validated(parse_json(body), model))


def _validated(document: Any, model: type[_Body]) -> _Body:
    if isinstance(document, Mapping):
        document = {name: value for name, value in document.items() if not _asks_nothing(name, value)}
        refused(REFUSED, document)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise invalid_fields(error.errors(include_url=False, include_context=False, include_input=False)) from error


def _asks_nothing(name: str, value: Any) -> bool:
    if value is None:
        return True
    neutral = NEUTRAL.get(name)
    return type(value) is type(neutral) and value == neutral

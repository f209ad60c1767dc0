"""Schemas of request bodies: the supported parameters of OpenAI's API and vLLM's additions, and the refused ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.language.rwkv.sampling import Sampling

CHAT_TOKENS = 512
TEXT_TOKENS = 16
"""The defaults of ``max_tokens``; 16 is OpenAI's own default for plain completions."""
_SEED_BOUND = 2**63
_STOPS_MAX = 16
_UNSUPPORTED = "is not supported by this server"
_NO_GRAMMAR = "constrained output is not supported by this server"
_NO_TOOLS = "tools are not supported by this server"
_NO_LOGPROBS = "log probabilities are not supported by this server"

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
"""Values that have no effect, of parameters that are refused with any other value."""
REFUSED: Mapping[str, str] = {
    "n": "this server gives one completion for each request",
    "best_of": "this server gives one completion for each request",
    **dict.fromkeys(("logprobs", "top_logprobs", "prompt_logprobs"), _NO_LOGPROBS),
    **dict.fromkeys(("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"), _NO_TOOLS),
    **dict.fromkeys(
        ("response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"),
        _NO_GRAMMAR,
    ),
    **dict.fromkeys(("logit_bias", "echo", "suffix", "min_p", "min_tokens", "stop_token_ids"), _UNSUPPORTED),
}
"""Known but unsupported parameters, with the reason for their refusal; unknown parameters are refused by the schema."""

_Stop = Annotated[str, Field(min_length=1, max_length=256)]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    include_usage: bool = False


class CompletionBody(BaseModel):
    """The parameters of both chat and plain completions."""

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
    user: str | None = Field(None, description="Has no effect.")

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def sampling(self) -> Sampling:
        return Sampling(
            temperature=self.temperature, top_p=self.top_p, top_k=max(self.top_k, 0),
            repetition_penalty=self.repetition_penalty, presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty, seed=self.seed,
        )  # fmt: skip


class TextBody(CompletionBody):
    """``POST /v1/completions``."""

    prompt: str | list[int]


class TextPart(BaseModel):
    """One part of a message; only text is supported."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatBody(CompletionBody):
    """``POST /v1/chat/completions``."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=1024)
    max_completion_tokens: int | None = Field(None, ge=1)
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False

"""The results of the server's language model: rewritten prompts and proposed jobs."""

from dataclasses import dataclass, field
from typing import TypedDict

from ._models import Payload, Rewrite


class RewriteOptions(TypedDict, total=False):
    """Options of a rewrite; the server decides keys that are left out or None."""

    model: str | None
    """The image model that the prompt is for."""
    profile: str | None
    """A profile of rewriting, instead of the model's own."""
    seed: int | None
    """The same seed gives the same text."""
    negative_prompt: bool | None
    """Write a negative prompt too."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """The tokens of a prompt, and the limit of its model's text encoder; `counted` is `tokenizer` or `estimate`."""

    count: int
    limit: int
    counted: str

    @classmethod
    def from_payload(cls, payload: Payload) -> "TokenCount":
        return cls(count=int(payload["count"]), limit=int(payload["limit"]), counted=str(payload["counted"]))


@dataclass(frozen=True, slots=True)
class RewrittenPrompt:
    """A prompt and its revision.

    `revised_prompt` equals the prompt unless `rewrite.is_applied`; `revised_negative_prompt` is None unless it was
    requested and written; `profile` is the style of prompts that fits the image model; `tokens` counts the revised
    prompt.
    """

    prompt: str
    revised_prompt: str
    revised_negative_prompt: str | None
    profile: str
    rewrite: Rewrite
    tokens: TokenCount

    @classmethod
    def from_payload(cls, payload: Payload) -> "RewrittenPrompt":
        negative = payload.get("revised_negative_prompt")
        return cls(
            prompt=str(payload["prompt"]),
            revised_prompt=str(payload["revised_prompt"]),
            revised_negative_prompt=None if negative is None else str(negative),
            profile=str(payload["profile"]),
            rewrite=Rewrite.from_payload(payload["rewrite"]),
            tokens=TokenCount.from_payload(payload["tokens"]),
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call of the language model on the way to a proposal, and its outcome."""

    name: str
    arguments: Payload = field(default_factory=dict, hash=False)
    outcome: str = ""

    @classmethod
    def from_payload(cls, payload: Payload) -> "ToolCall":
        return cls(
            name=str(payload["name"]),
            arguments=dict(payload.get("arguments") or {}),
            outcome=str(payload.get("outcome") or ""),
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """A valid job that the language model proposes; pass it to `generate` or `submit` to run it.

    `message` is the model's comment, `calls` are its tool calls.
    """

    kind: str
    params: Payload = field(hash=False)
    message: str = ""
    calls: tuple[ToolCall, ...] = ()

    @classmethod
    def from_payload(cls, payload: Payload) -> "Proposal":
        job = payload["job"]
        return cls(
            kind=str(job["kind"]),
            params=dict(job["params"]),
            message=str(payload.get("message") or ""),
            calls=tuple(ToolCall.from_payload(call) for call in payload.get("calls") or ()),
        )

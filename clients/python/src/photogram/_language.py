"""What the server's language model gives: a prompt written anew, and a job that it proposes."""

from dataclasses import dataclass, field
from typing import TypedDict

from ._models import Payload, Rewrite


class RewriteOptions(TypedDict, total=False):
    """How a prompt is to be rewritten; a key left out or None is decided by the server."""

    model: str | None
    profile: str | None
    seed: int | None
    negative_prompt: bool | None


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How many tokens a prompt takes of those that its model reads; `counted` is `tokenizer` or `estimate`."""

    count: int
    limit: int
    counted: str

    @classmethod
    def from_payload(cls, payload: Payload) -> "TokenCount":
        return cls(count=int(payload["count"]), limit=int(payload["limit"]), counted=str(payload["counted"]))


@dataclass(frozen=True, slots=True)
class RewrittenPrompt:
    """A prompt and what to draw in its place.

    `revised_prompt` is the prompt itself unless `rewrite.is_applied`; `revised_negative_prompt` is there if it was
    asked for and written; `profile` is the way of writing that suits the image model; `tokens` counts the
    revised prompt.
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
    """A step that the language model took on its way to a proposal, and what the server said to it."""

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
    """A job that the language model proposes and the server finds valid; only `generate` or `submit` have it drawn.

    `message` is what the model says about it, `calls` the steps that led to it.
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

"""The objects of OpenAI's completions API: whole completions and the chunks of a stream."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from service.rwkv_server.engine_thread import Generation


@dataclass(frozen=True)
class CompletionView:
    """Renders one generation; all objects of a stream have the same id and creation time."""

    model: str
    is_chat: bool
    created: int = field(default_factory=lambda: int(time.time()))
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def completion(self, generation: Generation, text: str) -> dict[str, Any]:
        """The response without streaming."""
        content = {"message": {"role": "assistant", "content": text}} if self.is_chat else {"text": text}
        kind = "chat.completion" if self.is_chat else "text_completion"
        return self._object(kind, [_choice(content, generation.finish_reason)]) | {"usage": _usage(generation)}

    def role_chunk(self) -> dict[str, Any]:
        """The first chunk of a chat; streams of plain completions have none."""
        return self._chunk({"delta": {"role": "assistant", "content": ""}}, None)

    def text_chunk(self, text: str) -> dict[str, Any]:
        return self._chunk({"delta": {"content": text}} if self.is_chat else {"text": text}, None)

    def finish_chunk(self, generation: Generation) -> dict[str, Any]:
        """The last chunk with a choice: it has the finish reason and no text."""
        return self._chunk({"delta": {}} if self.is_chat else {"text": ""}, generation.finish_reason)

    def usage_chunk(self, generation: Generation) -> dict[str, Any]:
        """The chunk after the last choice, sent with ``stream_options.include_usage``."""
        return self._object(self._chunk_kind, []) | {"usage": _usage(generation)}

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.is_chat else "text_completion"

    def _chunk(self, content: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        return self._object(self._chunk_kind, [_choice(content, finish_reason)])

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        prefix = "chatcmpl" if self.is_chat else "cmpl"
        return {
            "id": f"{prefix}-{self.key}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def _choice(content: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}


def _usage(generation: Generation) -> dict[str, Any]:
    prompt_tokens, completion_tokens = len(generation.request.prompt), generation.completion_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": generation.reused_tokens},
    }

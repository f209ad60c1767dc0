"""Translates request bodies into requests of the engine."""

from __future__ import annotations

from models.language.rwkv.chat import TURN_END, Message, render
from models.language.rwkv.engine import Request
from models.language.rwkv.vocabulary import Vocabulary
from service.rwkv_server.errors import RequestError
from service.rwkv_server.schemas import CHAT_TOKENS, TEXT_TOKENS, ChatBody, ChatMessage, CompletionBody, TextBody
from service.rwkv_server.settings import Limits


class Translation:
    """Both methods raise :class:`RequestError` for invalid values and for requests beyond the limits."""

    def __init__(self, vocabulary: Vocabulary, vocabulary_size: int, limits: Limits) -> None:
        self._vocabulary, self._size, self._limits = vocabulary, vocabulary_size, limits

    def chat(self, body: ChatBody) -> Request:
        """The next turn of a conversation, or the continuation of its last one."""
        is_continuation = body.continue_final_message
        _check_continuation(body)
        prompt = render(
            [Message(message.role, message.text) for message in body.messages],
            ask=body.add_generation_prompt is not False,
            continue_last=is_continuation,
        )
        tokens = self._encoded(prompt, "messages")
        return self._request(
            body, tokens, "messages", self._chat_length(body), (TURN_END,), trims_start=not is_continuation
        )

    def text(self, body: TextBody) -> Request:
        """The continuation of a prompt, which is text or tokens."""
        tokens = self._encoded(body.prompt, "prompt") if isinstance(body.prompt, str) else tuple(body.prompt)
        if not tokens:
            raise RequestError("prompt: must not be empty", param="prompt")
        if not all(0 <= token < self._size for token in tokens):
            raise RequestError(f"prompt: tokens must be from 0 to {self._size - 1}", param="prompt")
        return self._request(body, tokens, "prompt", ("max_tokens", body.max_tokens or TEXT_TOKENS))

    def _request(
        self,
        body: CompletionBody,
        tokens: tuple[int, ...],
        source: str,
        length: tuple[str, int],
        stops: tuple[str, ...] = (),
        *,
        trims_start: bool = False,
    ) -> Request:
        if len(tokens) > self._limits.prompt_tokens:
            reason = f"{source}: must have at most {self._limits.prompt_tokens} tokens in total, has {len(tokens)}"
            raise RequestError(reason, param=source, code="context_length_exceeded")
        name, max_tokens = length
        if max_tokens > self._limits.completion_tokens:
            raise RequestError(f"{name}: must be at most {self._limits.completion_tokens}", param=name)
        return Request(
            prompt=tokens, max_tokens=max_tokens, sampling=body.sampling, stop=(*stops, *body.stops),
            trims_start=trims_start,
        )  # fmt: skip

    def _encoded(self, text: str, source: str) -> tuple[int, ...]:
        try:
            return tuple(self._vocabulary.encode(text))
        except UnicodeEncodeError as error:
            raise RequestError(f"{source}: must be valid Unicode text", param=source) from error

    def _chat_length(self, body: ChatBody) -> tuple[str, int]:
        """The parameter that limits the completion's length, and its value."""
        if body.max_completion_tokens is None:
            return "max_tokens", body.max_tokens or min(CHAT_TOKENS, self._limits.completion_tokens)
        if body.max_tokens is not None:
            raise RequestError("max_tokens: must not be given together with max_completion_tokens", param="max_tokens")
        return "max_completion_tokens", body.max_completion_tokens


def _check_continuation(body: ChatBody) -> None:
    if not body.continue_final_message:
        return
    last: ChatMessage = body.messages[-1]
    if last.role != "assistant":
        reason = "continue_final_message: the last message must have the role assistant"
        raise RequestError(reason, param="continue_final_message")
    if body.add_generation_prompt:
        reason = "add_generation_prompt: must be false if continue_final_message is true"
        raise RequestError(reason, param="add_generation_prompt")

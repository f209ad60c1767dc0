"""The thread that owns the model: asyncio sends it commands by one queue, and each generation gets its own events."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from models.language.rwkv.engine import FAILED, Engine, Progress, Request, Sequence
from service.rwkv_server.errors import RequestError, internal_error

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Event:
    """What one step of the engine added to a generation."""

    text: str
    finish_reason: str | None
    completion_tokens: int = 0
    reused_tokens: int = 0


class Generation:
    """One request in progress; use it only within the event loop that submitted it."""

    def __init__(self, request: Request, cancel: Callable[[Generation], None]) -> None:
        self.request = request
        self.completion_tokens = self.reused_tokens = 0
        self.finish_reason: str | None = None
        self._cancel = cancel
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[_Event] = asyncio.Queue()

    def publish(self, progress: Progress | None) -> None:
        """Called on the engine's thread; ``None`` means that the model failed."""
        event = _Event("", FAILED) if progress is None else _event_of(progress)
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:
            _log.debug("the event loop is closed; nothing waits for this generation")

    async def texts(self) -> AsyncIterator[str]:
        """The text, piece by piece; ``finish_reason`` and the token counts are set when it ends.

        Raises:
            RequestError: the model failed.
        """
        while self.finish_reason is None:
            event = await self._events.get()
            self.finish_reason = event.finish_reason
            self.completion_tokens, self.reused_tokens = event.completion_tokens, event.reused_tokens
            if self.finish_reason == FAILED:
                raise internal_error("the model failed during generation; the log may say more")
            if event.text:
                yield event.text

    def close(self) -> None:
        """Free its place in the queue and stop generating if it is not finished; may be called twice."""
        self._cancel(self)


def _event_of(progress: Progress) -> _Event:
    sequence = progress.sequence
    return _Event(progress.text, progress.finish, sequence.completion_tokens, sequence.reused_tokens)


class EngineThread(threading.Thread):
    """Steps the engine while it has work; takes commands from one event loop."""

    def __init__(self, engine: Engine, max_waiting: int) -> None:
        super().__init__(name="rwkv", daemon=True)
        self.engine = engine
        self._max_open = engine.max_sequences + max_waiting
        self._open: set[Generation] = set()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._sequences: dict[Generation, Sequence] = {}
        self._generations: dict[Sequence, Generation] = {}
        self._is_stopping = False

    @property
    def running(self) -> int:
        """How many generations are being decoded now."""
        return len(self.engine.running)

    @property
    def waiting(self) -> int:
        """How many generations wait for prefill or are in it."""
        return max(len(self._sequences) - self.running, 0)

    def submit(self, request: Request) -> Generation:
        """Called on the event loop; the caller must close the generation.

        Raises:
            RequestError: with 429 if too many are open already.
        """
        if len(self._open) >= self._max_open:
            reason = f"{self._max_open} requests are open already; try again later"
            raise RequestError(reason, code="rate_limit_exceeded", status=429)
        generation = Generation(request, self._close)
        self._open.add(generation)
        self._commands.put(lambda: self._add(generation))
        return generation

    def stop(self) -> None:
        """Stop generating; returns when the thread has ended."""
        self._commands.put(self._stop)
        self.join()

    def run(self) -> None:
        """Drain commands and step until stopped; if the model fails, the open generations end, but not the thread."""
        while not self._is_stopping:
            self._drain()
            try:
                progress = self.engine.step()
            except Exception:
                _log.exception("the model failed; %d generations are ended", len(self._generations))
                self._fail_all()
            else:
                self._dispatch(progress)

    def _drain(self) -> None:
        """Execute all commands; block for one if the engine is idle."""
        if self.engine.is_idle:
            self._commands.get()()
        while not self._commands.empty():
            self._commands.get()()

    def _dispatch(self, progress: list[Progress]) -> None:
        for each in progress:
            generation = self._generations[each.sequence]
            generation.publish(each)
            if each.finish is not None:
                self._forget(generation)

    def _fail_all(self) -> None:
        self.engine.clear()
        for generation in list(self._sequences):
            generation.publish(None)
            self._forget(generation)

    def _add(self, generation: Generation) -> None:
        try:
            sequence = self.engine.add(generation.request)
        except Exception:
            _log.exception("a request cannot be added to the engine")
            return generation.publish(None)
        self._sequences[generation], self._generations[sequence] = sequence, generation

    def _close(self, generation: Generation) -> None:
        if generation in self._open:
            self._open.discard(generation)
            self._commands.put(lambda: self._cancel(generation))

    def _cancel(self, generation: Generation) -> None:
        sequence = self._sequences.get(generation)
        if sequence is not None:
            self.engine.cancel(sequence)
            self._forget(generation)

    def _forget(self, generation: Generation) -> None:
        del self._generations[self._sequences.pop(generation)]

    def _stop(self) -> None:
        self._is_stopping = True

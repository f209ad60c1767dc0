"""The thread that owns the model; asyncio sends it orders by one queue, and gets news by one queue for each answer."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable

from models.language.rwkv.engine import FAILED, Engine, Progress, Request, Sequence
from service.api.errors import ApiError, ErrorCode

_log = logging.getLogger(__name__)
_FAILURE = "the model failed while it wrote; the log may say more"


class Answer:
    """One answer while it is written, for use within the event loop that asked for it."""

    def __init__(self, request: Request, leave: Callable[[Answer], None]) -> None:
        self.request = request
        self.completion_tokens = self.reused_tokens = 0
        self.finish_reason: str | None = None
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[tuple[str, str | None, int, int]] = asyncio.Queue()

    def tell(self, progress: Progress | None) -> None:
        """From the engine's thread: there is news; ``None`` says that the model failed."""
        if progress is None:
            news: tuple[str, str | None, int, int] = ("", FAILED, 0, 0)
        else:
            sequence = progress.sequence
            news = (progress.text, progress.finish, sequence.completion_tokens, sequence.reused_tokens)
        try:
            self._loop.call_soon_threadsafe(self._news.put_nowait, news)
        except RuntimeError:
            _log.debug("the event loop is closed; nobody waits for this answer")

    async def pieces(self) -> AsyncIterator[str]:
        """The text as it comes; afterwards ``finish_reason`` and the counts are known.

        Raises:
            ApiError: the model failed.
        """
        while self.finish_reason is None:
            text, self.finish_reason, self.completion_tokens, self.reused_tokens = await self._news.get()
            if self.finish_reason == FAILED:
                raise ApiError(ErrorCode.INTERNAL_ERROR, _FAILURE)
            if text:
                yield text

    def close(self) -> None:
        """Nobody waits for it any more: what is not written yet is not written at all. May be called twice."""
        self._leave(self)


class Desk(threading.Thread):
    """Runs the engine while there is anything to do; takes orders from one event loop."""

    def __init__(self, engine: Engine, max_waiting: int) -> None:
        super().__init__(name="rwkv", daemon=True)
        self.engine = engine
        self._room = engine.max_sequences + max_waiting
        self._open: set[Answer] = set()
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._sequences: dict[Answer, Sequence] = {}
        self._answers: dict[Sequence, Answer] = {}
        self._is_stopping = False

    @property
    def running(self) -> int:
        """How many answers are written now."""
        return len(self.engine.running)

    @property
    def waiting(self) -> int:
        """How many answers are asked for and not begun."""
        return max(len(self._sequences) - self.running, 0)

    def ask(self, request: Request) -> Answer:
        """From the event loop: have an answer written. Whoever asks must close it.

        Raises:
            ApiError: too many wait already.
        """
        if len(self._open) >= self._room:
            raise ApiError(ErrorCode.QUEUE_FULL, f"{self._room} requests are open already; try again later")
        answer = Answer(request, self._leave)
        self._open.add(answer)
        self._orders.put(lambda: self._begin(answer))
        return answer

    def stop(self) -> None:
        """Write nothing more; returns once the thread is over."""
        self._orders.put(self._stop)
        self.join()

    def run(self) -> None:
        """Obey and tick until stopped; a model that fails ends the answers of the moment, not the thread."""
        while not self._is_stopping:
            self._obey()
            try:
                news = self.engine.tick()
            except Exception:
                _log.exception("the model failed; %d answers are given up", len(self._answers))
                self._give_up()
            else:
                self._spread(news)

    def _obey(self) -> None:
        """Carry out all orders; without anything else to do, wait for one."""
        if self.engine.is_idle:
            self._orders.get()()
        while not self._orders.empty():
            self._orders.get()()

    def _spread(self, news: list[Progress]) -> None:
        for progress in news:
            answer = self._answers[progress.sequence]
            answer.tell(progress)
            if progress.finish is not None:
                self._forget(answer)

    def _give_up(self) -> None:
        self.engine.clear()
        for answer in list(self._sequences):
            answer.tell(None)
            self._forget(answer)

    def _begin(self, answer: Answer) -> None:
        try:
            sequence = self.engine.add(answer.request)
        except Exception:
            _log.exception("a request cannot be begun")
            return answer.tell(None)
        self._sequences[answer], self._answers[sequence] = sequence, answer

    def _leave(self, answer: Answer) -> None:
        if answer in self._open:
            self._open.discard(answer)
            self._orders.put(lambda: self._drop(answer))

    def _drop(self, answer: Answer) -> None:
        sequence = self._sequences.get(answer)
        if sequence is not None:
            self.engine.cancel(sequence)
            self._forget(answer)

    def _forget(self, answer: Answer) -> None:
        del self._answers[self._sequences.pop(answer)]

    def _stop(self) -> None:
        self._is_stopping = True

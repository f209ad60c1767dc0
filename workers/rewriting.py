"""Prompts on their way through the language engine: one thread with an event loop rewrites many at once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from models.catalog.styles import apply_style, find_style
from models.jobs.params import DrawParams
from models.jobs.rewrite import APPLIED, UNAVAILABLE, Rewrite
from models.language.budget import budget_of
from models.language.profiles import profile_of
from models.language.rewriting import Rewriter, RewriteRequest
from service.backbone.connections import connect_async
from service.backbone.language import open_engine, open_rewriter
from service.backbone.settings import Settings
from workers.slots import Slot

log = logging.getLogger(__name__)

RewriterOpener = Callable[[], AbstractAsyncContextManager[Rewriter]]
"""Opens a rewriter for the event loop that it is called in."""


@asynccontextmanager
async def rewriter_of(settings: Settings, redis_url: str, name: str) -> AsyncIterator[Rewriter]:
    """The rewriter of the worker ``name``, with connections of its own."""
    connection, engine = connect_async(redis_url, f"{name}-rewriting"), open_engine(settings)
    try:
        yield open_rewriter(settings, engine, connection)
    finally:
        if engine is not None:
            await engine.aclose()
        await connection.aclose(close_connection_pool=True)


def wants_rewrite(slot: Slot) -> bool:
    """Whether the job's prompt is to be rewritten and was not yet, by this worker or one that died since."""
    params, earlier = slot.record.params, slot.record.rewrite
    asked = isinstance(params, DrawParams) and params.enhance_prompt
    return asked and (earlier is None or earlier.status != APPLIED)


class Rewriting(threading.Thread):
    """Rewrites prompts; whatever happens to the language engine, every job gets on."""

    def __init__(self, open_rewriter: RewriterOpener) -> None:
        super().__init__(name="rewriting", daemon=True)
        self._open = open_rewriter
        self._is_open = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, slot: Slot, done: Callable[[Slot], None]) -> None:
        """Have the job's prompt rewritten; ``done`` is called with the slot, what became of it in its record.

        It is called in the event loop's thread and must return at once.
        """
        self._is_open.wait()
        self._loop.call_soon_threadsafe(self._spawn, slot, done)

    def stop(self) -> None:
        """Give up what is under way, and end the thread, unless it ended before."""
        if not self.is_alive():
            return
        self._is_open.wait()
        self._loop.call_soon_threadsafe(self._stopping.set)
        self.join()

    def run(self) -> None:
        """Rewrite until stopped."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        async with self._open() as self._rewriter:
            self._is_open.set()
            await self._stopping.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, slot: Slot, done: Callable[[Slot], None]) -> None:
        task = self._loop.create_task(self._rewrite(slot, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _rewrite(self, slot: Slot, done: Callable[[Slot], None]) -> None:
        try:
            request = await asyncio.to_thread(_request_of, slot)
            rewrite = await self._rewriter.rewrite(request)
        except Exception:
            log.exception("the prompt of job %s could not be rewritten", slot.job_id)
            rewrite = Rewrite(status=UNAVAILABLE, reason="something went wrong; the worker's log has it")
        slot.record = replace(slot.record, rewrite=rewrite)
        done(slot)


def _request_of(slot: Slot) -> RewriteRequest:
    params, spec = slot.record.params, slot.spec
    assert isinstance(params, DrawParams) and spec is not None  # as wants_rewrite has it
    return RewriteRequest(
        prompt=params.prompt,
        profile=profile_of(spec),
        seed=params.seed,
        budget=budget_of(spec),
        style_text=_style_words(params),
        wants_negative=params.enhance_negative_prompt and not params.negative_prompt and spec.takes_negative_prompt,
    )


def _style_words(params: DrawParams) -> str:
    style = None if params.style_preset is None else find_style(params.style_preset)
    return "" if style is None else apply_style(style, "", "")[0]

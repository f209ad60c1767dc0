"""Prompt rewriting for the worker: one thread with an event loop sends many prompts to the language engine at once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from models.catalog.styles import apply_style, find_style
from models.jobs.params import DrawParams
from models.jobs.records import JobRecord
from models.jobs.rewrite import APPLIED, UNAVAILABLE, Rewrite
from models.language.budget import budget_of
from models.language.profiles import profile_of
from models.language.rewriting import Rewriter, RewriteRequest
from service.backbone.connections import connect_async
from service.backbone.language import open_engine, open_rewriter
from service.backbone.settings import Settings
from workers.held_jobs import HeldJob
from workers.metrics import observe_rewrite

log = logging.getLogger(__name__)

RewriterOpener = Callable[[], AbstractAsyncContextManager[Rewriter]]
"""Opens a rewriter in the running event loop."""


@asynccontextmanager
async def rewriter_of(settings: Settings, redis_url: str, name: str) -> AsyncIterator[Rewriter]:
    """A rewriter with connections of its own, for the worker ``name``."""
    connection, engine = connect_async(redis_url, f"{name}-rewriting"), open_engine(settings)
    try:
        yield open_rewriter(settings, engine, connection)
    finally:
        if engine is not None:
            await engine.aclose()
        await connection.aclose(close_connection_pool=True)


def wants_rewrite(record: JobRecord) -> bool:
    """Whether the job's prompt must be rewritten; an earlier execution may have done that."""
    params, earlier = record.params, record.rewrite
    is_requested = isinstance(params, DrawParams) and params.enhance_prompt and bool(params.prompt.strip())
    return is_requested and (earlier is None or earlier.status != APPLIED)


class Rewriting(threading.Thread):
    """Rewrites prompts; a job whose prompt cannot be rewritten goes on with the prompt that it has."""

    def __init__(self, open_rewriter: RewriterOpener) -> None:
        super().__init__(name="rewriting", daemon=True)
        self._open = open_rewriter
        self._is_open = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, job: HeldJob, done: Callable[[HeldJob], None]) -> None:
        """Rewrite the job's prompt, write the outcome into its record, and call ``done`` with the job.

        ``done`` is called in the event loop's thread and must return at once.
        """
        self._is_open.wait()
        self._loop.call_soon_threadsafe(self._spawn, job, done)

    def stop(self) -> None:
        """Cancel all rewriting, without calling ``done``, and end the thread if it was started."""
        if not self.is_alive():
            return
        self._is_open.wait()
        self._loop.call_soon_threadsafe(self._stopping.set)
        self.join()

    def run(self) -> None:
        """Run the event loop until stopped."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        async with self._open() as self._rewriter:
            self._is_open.set()
            await self._stopping.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, job: HeldJob, done: Callable[[HeldJob], None]) -> None:
        task = self._loop.create_task(self._rewrite(job, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _rewrite(self, job: HeldJob, done: Callable[[HeldJob], None]) -> None:
        try:
            request = await asyncio.to_thread(_request_of, job)
            rewrite = await self._rewriter.rewrite(request)
        except Exception:
            log.exception("the prompt of job %s could not be rewritten", job.job_id)
            rewrite = Rewrite(
                status=UNAVAILABLE, reason="the prompt could not be rewritten; the worker's log has the reason"
            )
        observe_rewrite(rewrite.status, rewrite.elapsed_s)
        job.set_rewrite(rewrite)
        done(job)


def _request_of(job: HeldJob) -> RewriteRequest:
    params, spec = job.record.params, job.spec
    assert isinstance(params, DrawParams) and spec is not None  # wants_rewrite is true of such jobs only
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

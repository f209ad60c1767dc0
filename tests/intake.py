"""The intake of jobs for tests without an event loop: calls wait for a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from models.jobs.tickets import Ticket
from service.backbone.admission import Accepted, Entry
from service.backbone.allowances import NO_LIMITS, Allowance
from service.backbone.queue import Intake


class BlockingIntake:
    """An intake on the server of ``redis``; safe to use from several threads, also from those of event loops.

    Args:
        options: as :class:`Intake` takes them.
    """

    def __init__(self, redis: Redis, max_queued: int, **options: int) -> None:
        address = {"host", "port", "path", "db"} & set(redis.connection_pool.connection_kwargs)
        self._intake = Intake(
            _connection(tuple((name, redis.connection_pool.connection_kwargs[name]) for name in sorted(address))),
            max_queued,
            **options,
        )
        self._loop = _loop()  # not in each call: threads that call at the same time would each make one

    def accept(
        self,
        ticket: Ticket,
        requested: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        *,
        allowance: Allowance = NO_LIMITS,
        **further: Any,
    ) -> Accepted:
        """Accept one job; ``further`` are fields of its :class:`Entry`."""
        entry = Entry(ticket, requested or {}, idempotency_key=idempotency_key, **further)
        return asyncio.run_coroutine_threadsafe(self._intake.accept(entry, allowance), self._loop).result()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all intakes, which runs until the process ends."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


@cache
def _connection(address: tuple[tuple[str, Any], ...]) -> AsyncRedis:
    names = {"path": "unix_socket_path"}
    return AsyncRedis(**{names.get(name, name): value for name, value in address})

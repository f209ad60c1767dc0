"""Requests that arrive at once begin in the order of their arrival, and health checks before all that wait."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from service.api.turns import PER_PASS, Turns

MANY = 10 * PER_PASS


class Begun:
    """An application that notes which requests have begun."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])


async def nothing(*_: Any) -> None:
    """Neither receives nor sends."""


def request(app: Turns, path: str) -> asyncio.Task[None]:
    return asyncio.ensure_future(app({"type": "http", "path": path}, nothing, nothing))


async def test_a_few_requests_begin_in_each_pass_in_order():
    begun = Begun()
    app = Turns(begun)
    tasks = [request(app, f"/{number}") for number in range(MANY)]
    counts = [0]
    while len(begun.paths) < MANY:
        await asyncio.sleep(0)
        counts.append(len(begun.paths))
    await asyncio.gather(*tasks)
    assert begun.paths == [f"/{number}" for number in range(MANY)]
    assert max(later - earlier for earlier, later in pairwise(counts)) <= PER_PASS


async def test_a_health_check_does_not_wait_for_its_turn():
    begun = Begun()
    app = Turns(begun)
    tasks = [request(app, f"/{number}") for number in range(MANY)]
    tasks.append(request(app, "/healthz"))
    await asyncio.gather(*tasks)
    assert begun.paths.index("/healthz") <= PER_PASS


async def test_a_cancelled_request_gives_its_turn_away():
    begun = Begun()
    app = Turns(begun)
    tasks = [request(app, f"/{number}") for number in range(MANY)]
    await asyncio.sleep(0)
    for task in tasks[PER_PASS:-1]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert begun.paths == [*(f"/{number}" for number in range(PER_PASS)), f"/{MANY - 1}"]


async def test_requests_that_come_later_begin_at_once():
    begun = Begun()
    app = Turns(begun)
    for number in range(MANY):
        await request(app, f"/{number}")
    assert len(begun.paths) == MANY

"""Events of long work: kept alive while nothing comes, ended when the client leaves, broken off by mistakes of ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from service.api.responses import json_response
from service.api.sse import EventResponse, frame, while_connected

KEEP_ALIVE = ": keep-alive\n\n"


@pytest.fixture
def log() -> list[str]:
    return []


@contextmanager
def noted(log: list[str]) -> Iterator[None]:
    """Notes it if what happens inside is canceled."""
    try:
        yield
    except asyncio.CancelledError:
        log.append("canceled")
        raise


async def frames(log: list[str], pause_s: float, mistake: bool) -> AsyncGenerator[str, None]:
    begun_in = asyncio.current_task()
    with noted(log):
        async with asyncio.timeout(30):  # works only if the generator stays in one task
            for number in range(3):
                yield frame("tick", {"number": number, "text": "\ud800"})
                await asyncio.sleep(pause_s)
                assert asyncio.current_task() is begun_in
            if mistake:
                raise ValueError("a mistake")
    log.append("done")


async def work(log: list[str], pause_s: float) -> dict[str, Any]:
    with noted(log):
        await asyncio.sleep(pause_s)
    return {"text": "\ud800"}


@pytest.fixture
def url(serve: Any, log: list[str]) -> Iterator[str]:
    """A server whose routes note when they end."""
    app = FastAPI()

    @app.get("/events")
    async def events(pause_s: float, keep_alive_s: float = 15.0, mistake: bool = False) -> EventResponse:
        return EventResponse(frames(log, pause_s, mistake), keep_alive_s)

    @app.get("/whole")
    async def whole(request: Request, pause_s: float) -> Any:
        return json_response(await while_connected(request, work(log, pause_s)))

    with serve(app) as base:
        yield base


def wait_for(log: list[str], expected: str) -> None:
    for _ in range(200):
        if log == [expected]:
            return
        time.sleep(0.05)
    raise AssertionError(log)


def test_events_come_in_order_and_need_no_comments_if_they_come_fast(url, log):
    text = httpx.get(f"{url}/events", params={"pause_s": 0.01}).text
    expected = [f'event: tick\ndata: {{"number": {number}, "text": "\\ud800"}}\n\n' for number in range(3)]
    assert (text, log) == ("".join(expected), ["done"])


def test_comments_keep_a_slow_stream_alive(url, log):
    text = httpx.get(f"{url}/events", params={"pause_s": 0.5, "keep_alive_s": 0.1}).text
    assert text.count(KEEP_ALIVE) >= 3 and text.count("event: tick") == 3
    assert log == ["done"]


def test_a_client_that_leaves_ends_the_work(url, log):
    with httpx.stream("GET", f"{url}/events", params={"pause_s": 20}) as response:
        assert next(response.iter_text()).startswith("event: tick")
    wait_for(log, "canceled")


def test_a_client_that_waits_for_a_whole_answer_and_leaves_ends_the_work_too(url, log):
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{url}/whole", params={"pause_s": 20}, timeout=0.3)
    wait_for(log, "canceled")


def test_a_whole_answer(url, log):
    assert (httpx.get(f"{url}/whole", params={"pause_s": 0.01}).content, log) == (b'{"text": "\\ud800"}', [])


def test_a_mistake_of_our_own_breaks_the_stream_off(url, log):
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{url}/events", params={"pause_s": 0.01, "mistake": True})
    assert log == []

"""An interrupted `generate` leaves no job behind."""

import asyncio

import anyio
import httpx2
import pytest
from photogram import AsyncPhotogram, Photogram, ServerError, WaitTimeout

from .conftest import Either
from .wire_server import WireServer, problem


class InterruptedAt(httpx2.HTTPTransport):
    """Raises KeyboardInterrupt, as Ctrl-C would, when a request with this method comes by."""

    def __init__(self, method: str, *, is_sent: bool) -> None:
        super().__init__()
        self.method = method
        self.is_sent = is_sent

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method != self.method:
            return super().handle_request(request)
        if self.is_sent:
            super().handle_request(request).close()
        raise KeyboardInterrupt


def only_status(server: WireServer) -> str:
    [record] = server.records.values()
    return record.job["status"]


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_ctrl_c_cancels_the_job(server: WireServer, method: str):
    server.outcome = "never"
    with (
        httpx2.Client(transport=InterruptedAt(method, is_sent=method == "PUT")) as http,
        Photogram(http_client=http) as client,
        pytest.raises(KeyboardInterrupt),
    ):
        client.generate("a cat")
    assert only_status(server) == "canceled"


def test_ctrl_c_before_there_is_a_job(server: WireServer):
    http = httpx2.Client(transport=InterruptedAt("PUT", is_sent=False))
    with http, Photogram(http_client=http) as client, pytest.raises(KeyboardInterrupt):
        client.generate("a cat")
    assert server.records == {} and len(server.calls("POST")) == 1


async def until_running(server: WireServer) -> None:
    while not any(record.job["status"] == "running" for record in server.records.values()):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("on_event", [None, lambda event: None])
async def test_a_cancelled_task_cancels_the_job(server: WireServer, on_event):
    server.outcome = "never"
    async with AsyncPhotogram() as client:
        task = asyncio.create_task(client.generate("a cat", on_event=on_event))
        await until_running(server)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert only_status(server) == "canceled"


async def test_a_cancel_scope_that_insists_cancels_the_job(server: WireServer):
    server.outcome = "never"
    async with AsyncPhotogram() as client:
        with anyio.move_on_after(0.3):
            await client.generate("a cat")
        for _ in range(100):
            await asyncio.sleep(0.01)
            if only_status(server) == "canceled":
                break
    assert only_status(server) == "canceled"


@pytest.mark.parametrize("on_event", [None, lambda event: None])
async def test_time_over_cancels_the_job(client: Either, server: WireServer, on_event):
    server.outcome = "never"
    with pytest.raises(WaitTimeout):
        await client.generate("a cat", timeout_s=0.3, on_event=on_event)
    assert only_status(server) == "canceled"


async def test_a_listener_that_raises_cancels_the_job(client: Either, server: WireServer):
    server.outcome = "never"

    def listener(event: object) -> None:
        raise LookupError("of the caller's own")

    with pytest.raises(LookupError):
        await client.generate("a cat", on_event=listener)
    assert only_status(server) == "canceled"


async def test_an_error_while_waiting_cancels_the_job(client: Either, server: WireServer):
    server.outcome, server.step_s = "never", 0.01

    def break_the_wait(event: object) -> None:
        if not server.answers and not server.calls("POST"):
            server.answer_next(lambda: problem(500, "broken", "something broke"))

    server.misbehave("drops_the_events", times=1)
    with pytest.raises(ServerError):
        await client.generate("a cat", on_event=break_the_wait)
    assert only_status(server) == "canceled"

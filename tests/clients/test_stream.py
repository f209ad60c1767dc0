"""Following a job's events, across connections that break."""

import json

import pytest
from fastapi.responses import HTMLResponse, Response
from photogram import (
    ConnectionFailed,
    Job,
    NotFound,
    Previewed,
    Progressed,
    StatusChanged,
    UnexpectedResponse,
    WaitTimeout,
)

from .conftest import Either
from .wire_server import PREVIEW, WireServer, problem

STEPS = [Progressed(step, 4) for step in range(1, 5)]


def statuses(events: list[object]) -> list[str]:
    return [event.job.status for event in events if isinstance(event, StatusChanged)]


async def started(client: Either) -> Job:
    """A job that does not wait, so that the next request is for its events."""
    return await client.jobs.get(await client.submit("a cat"))


async def test_the_events_of_a_job(client: Either):
    job = await client.submit("a cat, \u2028 \x85 ünd\na dog")
    events = await client.events(job)

    assert statuses(events) == ["queued", "running", "succeeded"]
    assert [event for event in events if isinstance(event, Progressed)] == STEPS
    assert [event for event in events if isinstance(event, Previewed)] == [Previewed(4, PREVIEW, "image/png")]
    assert events[-1].job.params["prompt"] == "a cat, \u2028 \x85 ünd\na dog"
    assert events[-1].job == await client.jobs.get(job.id)


async def test_by_id_and_after_the_end(client: Either):
    job = await client.jobs.wait(await client.submit("a cat"))
    assert statuses(await client.events(job.id)) == ["queued", "running", "succeeded"]


@pytest.mark.parametrize("fault", ["drops_the_events", "ends_the_events"])
async def test_a_broken_stream_is_resumed(client: Either, server: WireServer, fault: str):
    server.misbehave(fault, times=3)
    events = await client.events(await client.submit("a cat"))

    assert statuses(events) == ["queued", "running", "succeeded"]
    assert [event for event in events if isinstance(event, Progressed)] == STEPS
    connections = [
        headers.get("last-event-id") for headers in server.calls("GET") if "event-stream" in headers.get("accept", "")
    ]
    assert connections == [None, "3", "4", "5"]


async def test_generate_survives_a_broken_stream(client: Either, server: WireServer):
    server.misbehave("drops_the_events")
    seen = []
    await client.generate("a cat", on_event=seen.append)
    assert [event for event in seen if isinstance(event, Progressed)] == STEPS


async def test_a_stream_held_open_after_the_end_is_left(client: Either, server: WireServer):
    server.misbehave("holds_the_events_open")
    assert statuses(await client.events(await client.submit("a cat")))[-1] == "succeeded"


async def test_a_busy_server_is_asked_again(client: Either, server: WireServer):
    job = await started(client)
    server.answer_next(*[lambda: problem(503, "busy", "later", {"Retry-After": "0"})] * 2)
    assert statuses(await client.events(job))[-1] == "succeeded"


async def test_a_stream_that_never_gets_on_is_given_up(kind: str, server: WireServer):
    client = Either(kind, max_retries=1)
    job = await started(client)
    frame = f"id: 1\nevent: status\ndata: {json.dumps(server.records[job.id].job)}\n\n"
    frame = frame.replace("succeeded", "running")
    server.answer_next(*[lambda: Response(frame, media_type="text/event-stream")] * 9)
    with pytest.raises(ConnectionFailed, match="ended before the job finished"):
        await client.events(job)
    await client.close()


async def test_time_can_be_bounded(client: Either, server: WireServer):
    server.outcome = "never"
    job = await client.submit("a cat")
    with pytest.raises(WaitTimeout, match="still running"):
        await client.events(job, timeout_s=0.3)


async def test_no_such_job(client: Either):
    with pytest.raises(NotFound):
        await client.events("nobody")


async def test_not_a_stream(client: Either, server: WireServer):
    job = await started(client)
    server.answer_next(lambda: HTMLResponse("<html>Welcome</html>"))
    with pytest.raises(UnexpectedResponse, match="instead of text/event-stream"):
        await client.events(job)


@pytest.mark.parametrize("data", ["{", "[]", '{"step": 1}', '{"step": 1, "image": "data:image/png;base64,?"}'])
async def test_garbage_in_an_event(client: Either, server: WireServer, data: str):
    job = await started(client)
    server.answer_next(lambda: Response(f"event: preview\ndata: {data}\n\n", media_type="text/event-stream"))
    with pytest.raises(UnexpectedResponse, match="cannot be read"):
        await client.events(job)

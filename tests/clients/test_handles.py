"""Jobs that know their client, several images with one call, settings for some of the calls, and the log."""

import contextlib
import json
import logging
from dataclasses import asdict

import httpx2
import photogram
import pytest
from fastapi.responses import JSONResponse
from photogram import (
    ClientClosed,
    ConnectionFailed,
    InvalidParams,
    Job,
    JobFailed,
    Photogram,
    PhotogramError,
    Queued,
    StatusChanged,
)
from photogram import _default as default
from photogram._config import Config
from photogram._flows import Flows, Following
from photogram._log import logger

from .conftest import Awaited, Either
from .wire_server import KEY, WireServer

JOB = {"id": "one", "kind": "txt2img", "status": "queued"}


async def test_a_job_is_followed_by_itself(client: Either, server: WireServer):
    job = await client.submit("a cat")
    events = await client.all(job)
    assert [event.job.status for event in events if isinstance(event, StatusChanged)][-1] == "succeeded"
    done = await client.of(job).wait()
    assert (job.status, done.status) == ("queued", "succeeded") and done == await client.of(done).refresh()
    assert (await client.of(done).download()).job.id == asdict(job)["id"]


async def test_a_job_is_cancelled_by_itself(client: Either, server: WireServer):
    server.outcome = "never"
    assert (await client.of(await client.submit("a cat")).cancel()).status == "canceled"


async def test_several_images_are_jobs_with_seeds_that_follow(client: Either, server: WireServer):
    assert len(await client.generate("a cat", n=3, seed=7)) == 3
    assert [record.body["params"]["seed"] for record in server.records.values()] == [7, 8, 9]
    for count in (0, -1, 1001, 10**12, 1.5, "2"):
        with pytest.raises(ValueError, match="n must be a whole number from 1 to 1000"):
            await client.generate("a cat", n=count)


def test_a_refusal_of_one_of_several_cancels_those_before_it():
    flow = Flows(Config.resolve(None, None, 1.0, 0)).finish("txt2img", [{}, {}], Following(), None)
    first = next(flow).request
    second = flow.send(httpx2.Response(202, json=JOB)).request
    refused = httpx2.Response(422, json={"code": "invalid_params", "detail": "no"}, request=second)
    cancelled = flow.send(refused).request
    assert (cancelled.method, cancelled.url.path) == ("POST", f"{first.url.path}/cancel")
    with pytest.raises(InvalidParams):
        flow.send(httpx2.Response(200, json=JOB))


def test_a_watch_of_a_job_that_waits_is_one_request():
    told = [("status", JOB), ("queue", {"ahead": 2, "eta_s": 4.5, "new": 1}), ("queue", {"ahead": 0, "eta_s": None})]
    told.append(("status", {**JOB, "status": "succeeded"}))
    stream = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in told)
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        if request.url.path.endswith("/events"):
            return httpx2.Response(200, text=stream, headers={"content-type": "text/event-stream"})
        return httpx2.Response(200, json=JOB)

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        first, *queued, last = Photogram(http_client=http).jobs.watch("one")
    assert [(event.place.ahead, event.place.eta_s) for event in queued if isinstance(event, Queued)] == [
        (2, 4.5), (0, None),
    ]  # fmt: skip
    assert (first.job.status, last.job.status) == ("queued", "succeeded")
    assert asked == ["/v1/jobs/one", "/v1/jobs/one/events"]


@pytest.mark.parametrize("lasting_s", [-1.0, 1000.0])
def test_a_long_wait_survives_any_number_of_lost_connections(lasting_s: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("photogram._events.LASTING_S", lasting_s)
    flows = Flows(Config.resolve(None, None, 5, 2))
    reader, lost = flows.event_reader(Job.from_payload(JOB), None), httpx2.ReadError("lost")
    pauses = 0
    with contextlib.suppress(ConnectionFailed):
        while pauses < 9:
            reader.request()
            assert list(reader.feed(b": keep-alive\n\n")) == []
            reader.pause_s(lost)
            pauses += 1
    assert pauses == (9 if lasting_s < 0 else 2)


async def test_other_settings_share_the_connections(client: Either, server: WireServer):
    server.needs_key = True
    other = Awaited(client.kind, client.client.with_options(api_key=KEY, max_retries=0))
    assert len(await other.samplers()) == 3
    await other.close()
    with pytest.raises(photogram.AuthenticationError):
        await client.samplers()


async def test_every_failure_names_its_request(client: Either, server: WireServer):
    server.outcome = "failed"
    with pytest.raises(JobFailed) as failed:
        await client.generate("a cat")
    assert failed.value.request_id == server.requests[-1][2]["x-request-id"]
    unreachable = Awaited(client.kind, type(client.client)("http://127.0.0.1:9", max_retries=0))
    with pytest.raises(photogram.ConnectionFailed) as lost:
        await unreachable.samplers()
    assert lost.value.request_id
    await unreachable.close()
    with pytest.raises(ClientClosed) as closed:
        await unreachable.samplers()
    assert isinstance(closed.value, PhotogramError)


def test_the_functions_of_the_module_are_those_of_one_client(server: WireServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(default, "_client", None)
    assert photogram.generate("a cat").job.status == "succeeded"
    assert photogram.jobs is photogram.jobs and photogram.models()[0].name == "house"
    assert all(hasattr(photogram, name) and name in photogram.__all__ for name in default.SHARED)
    methods = {name for name in dir(Photogram) if not name.startswith("_")} - {"close"}
    assert methods <= set(default.SHARED), "the module has every method of a client"
    default.default_client().close()
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        photogram.paint  # noqa: B018


@pytest.mark.parametrize(("level", "is_told"), [("debug", True), ("info", False)])
def test_a_variable_turns_the_log_on(
    server: WireServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, level: str, is_told: bool
):
    monkeypatch.setenv("PHOTOGRAM_LOG", level)
    handlers = list(logger.handlers)
    with Photogram(api_key=KEY) as client:
        client.submit("a secret prompt")
    logger.handlers[:] = handlers
    logger.setLevel(logging.NOTSET)
    lines = [record.getMessage() for record in caplog.records if record.name == "photogram"]
    assert any("PUT" in line or "POST" in line for line in lines) == is_told
    assert not any(KEY in line or "secret" in line for line in lines)


def test_an_unknown_level_of_the_log_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHOTOGRAM_LOG", "loud")
    with pytest.raises(ValueError, match="PHOTOGRAM_LOG must be info or debug"):
        Photogram()


async def test_a_list_fetches_further_pages_as_it_goes(client: Either, server: WireServer):
    pages = [([{**JOB, "id": name} for name in names], after) for names, after in (("ab", "b"), ("c", None))]
    server.answer_next(*(lambda page=page: JSONResponse({"jobs": page[0], "next": page[1]}) for page in pages))
    found = await client.all(client.client.jobs.list(status="queued", metadata={"shop": "1"}))
    assert [job.id for job in found] == ["a", "b", "c"]
    first, second = server.queries
    assert first == "limit=100&status=queued&metadata=shop%3D1" and second == first + "&cursor=b"

"""What is tried again, after which pauses, and that nothing is done twice."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from photogram import ConnectionFailed, NotFound, Problem, ServiceUnavailable, TooManyRequests
from photogram._responses import retry_after_s
from photogram._retry import Backoff, connection_failure

from .conftest import Either
from .wire_server import WireServer, broken_answer, problem


def busy(status: int = 503, after: str = "0"):
    return lambda: problem(status, "busy", "come back later", {"Retry-After": after})


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_busy_server_is_asked_again(client: Either, server: WireServer, status: int):
    server.answer_next(busy(status), busy(status))
    assert [sampler.name for sampler in await client.samplers()] == ["euler", "ddim", "odd"]
    assert len(server.requests) == 3


async def test_a_language_model_that_says_when_is_asked_again(client: Either, server: WireServer):
    server.answer_next(lambda: problem(503, "language_unavailable", "starting", {"Retry-After": "0"}))
    assert (await client.assist("a cat")).kind == "txt2img"
    assert len(server.requests) == 2


async def test_retry_after_is_honoured(client: Either, server: WireServer):
    server.answer_next(busy(after="1"))
    began = time.monotonic()
    await client.samplers()
    assert time.monotonic() - began >= 1.0


async def test_retries_are_bounded(kind: str, server: WireServer):
    server.answer_next(*[busy()] * 10)
    client = Either(kind, max_retries=2)
    with pytest.raises(ServiceUnavailable):
        await client.samplers()
    assert len(server.requests) == 3
    await client.close()


async def test_a_post_whose_answer_was_lost_makes_one_job(client: Either, server: WireServer):
    server.misbehave("loses_the_answer", times=2)
    job = await client.submit("a cat")

    assert list(server.records) == [job.id]
    keys = {headers["idempotency-key"] for headers in server.calls("POST")}
    assert len(server.calls("POST")) == 3 and len(keys) == 1
    other = await client.submit("a cat")
    assert other.id != job.id


async def test_a_generate_whose_answer_was_lost_makes_one_job(client: Either, server: WireServer):
    server.misbehave("loses_the_answer")
    image = await client.generate("a cat")
    assert list(server.records) == [image.job.id]


async def test_waiting_survives_a_lost_connection(client: Either, server: WireServer):
    job = await client.submit("a cat")
    server.answer_next(broken_answer)
    assert (await client.jobs.wait(job)).status == "succeeded"


async def test_waiting_does_not_outlast_its_time_in_retries(client: Either, server: WireServer):
    job = await client.submit("a cat")
    server.answer_next(busy(after="30"))
    with pytest.raises(ServiceUnavailable):
        await client.jobs.wait(job, timeout_s=0.5)


def test_pauses_double_up_to_a_bound():
    backoff = Backoff(max_retries=10, first_s=1.0, max_s=8.0)
    lost = connection_failure("http://x", httpx2.ReadError("broken off"))
    for attempt, most_s in enumerate([1, 2, 4, 8, 8, 8]):
        assert most_s / 2 <= backoff.pause_s(lost, attempt) <= most_s
    assert backoff.pause_s(lost, 10) is None


def test_what_cannot_pass_is_not_tried_again():
    backoff = Backoff(max_retries=3)
    assert backoff.pause_s(NotFound(Problem(404, "not_found", "")), 0) is None
    assert backoff.pause_s(connection_failure("x", httpx2.UnsupportedProtocol("ftp")), 0) is None
    assert backoff.pause_s(ConnectionFailed("x", "of no known cause"), 0) is None
    assert backoff.pause_s(TooManyRequests(Problem(429, "slow", "", retry_after_s=61)), 0) is None
    assert backoff.pause_s(TooManyRequests(Problem(429, "slow", "", retry_after_s=60)), 0) == 60


def test_retry_after_is_read_as_seconds_or_date():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after_s(httpx2.Headers({"Retry-After": "12"})) == 12
    assert 25 < retry_after_s(httpx2.Headers({"Retry-After": later})) <= 30
    assert retry_after_s(httpx2.Headers({"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"})) == 0
    assert retry_after_s(httpx2.Headers({"Retry-After": "soon"})) is None
    assert retry_after_s(httpx2.Headers({"Retry-After": "-5"})) is None
    assert retry_after_s(httpx2.Headers()) is None

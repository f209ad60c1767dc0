"""Server-Sent Events: order, resuming, keep-alive, and that every stream ends with the job."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from service.api.native.streaming import Attention, event_stream
from service.api.native.views import job_view
from service.backbone import viewers
from service.backbone.connections import connect_async
from service.backbone.keyspace import events_key, watched_key
from service.backbone.place_feed import PlaceFeed
from service.backbone.places import Places
from service.backbone.viewers import WATCHED_S
from service.backbone.watch import JobWatcher
from tests.service.api.conftest import EXECUTION


def parse(text: str) -> list[dict]:
    events = []
    for block in filter(None, text.split("\n\n")):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        events.append({**fields, "data": json.loads(fields["data"])} if "data" in fields else fields)
    return events


def test_events_come_in_order_until_the_job_is_over(client, new_job, worker):
    job_id = new_job()

    def work() -> None:
        worker.start(job_id)
        worker.progress(job_id, 1)
        worker.progress(job_id, 2, preview="data:image/jpeg;base64,AAAA")
        worker.succeed(job_id)

    timer = threading.Timer(0.2, work)
    timer.start()
    answer = client.get(f"/v1/jobs/{job_id}/events")
    timer.join()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-cache", "no")
    events = [each for each in parse(answer.text) if each["event"] != "queue"]  # which comes if there is time for it
    assert [each["event"] for each in events] == ["status", "status", "progress", "preview", "status"]
    assert [each["data"]["status"] for each in events if each["event"] == "status"] == [
        "queued", "running", "succeeded",
    ]  # fmt: skip
    assert events[2]["data"] == {"step": 1, "steps": 20}
    assert events[3]["data"] == {"step": 2, "image": "data:image/jpeg;base64,AAAA"}
    assert events[4]["data"] == client.get(f"/v1/jobs/{job_id}").json()
    ids = [tuple(map(int, each["id"].split("-"))) for each in events]
    assert ids == sorted(set(ids))


def test_an_older_status_is_shown_as_it_was(client, new_job, worker):
    job_id = new_job()
    worker.draw(job_id)
    queued, running, done = (each["data"] for each in parse(client.get(f"/v1/jobs/{job_id}/events").text))
    for early in (queued, running):
        assert (early["result"], early["error"], early["finished_at"]) == (None, None, None)
    assert (queued["status"], queued["started_at"]) == ("queued", None)
    assert (running["status"], running["started_at"]) == ("running", done["started_at"])
    assert done["result"]["images"]


def test_resuming_goes_on_after_the_last_event(client, new_job, worker):
    job_id = new_job()
    worker.draw(job_id)
    everything = parse(client.get(f"/v1/jobs/{job_id}/events").text)
    resumed = client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": everything[0]["id"]})
    assert parse(resumed.text) == everything[1:]


def test_resuming_after_the_end_tells_the_end_at_once(client, new_job, worker):
    job_id = new_job()
    worker.draw(job_id)
    last = parse(client.get(f"/v1/jobs/{job_id}/events").text)[-1]
    [end] = parse(client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": last["id"]}, timeout=3).text)
    assert (end["event"], end["data"]) == ("status", last["data"])


def test_a_stream_that_lost_its_events_still_ends(client, new_job, worker, redis):
    job_id = new_job()
    worker.draw(job_id)
    redis.delete(events_key(job_id))
    [end] = parse(client.get(f"/v1/jobs/{job_id}/events", timeout=3).text)
    assert (end["event"], end["data"]["status"]) == ("status", "succeeded")


@pytest.mark.parametrize(
    "last", ["x", "1", "1-", "-1", "1-2-3", "1-x", f"{2**64}-0", "9" * 5000 + "-0", "²-0", "*", "$"]
)
def test_bad_resume_points(client, new_job, last):
    answer = client.get(f"/v1/jobs/{new_job()}/events", headers={b"Last-Event-ID": last.encode()})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Last-Event-ID")


async def test_a_silent_stream_is_kept_alive(new_job, worker, redis_url):
    job_id = new_job()
    connection = connect_async(redis_url, "test")
    watcher = JobWatcher(connection, 3600)
    listening = asyncio.create_task(watcher.listen())
    attention = Attention(PlaceFeed(Places(connection), watcher), viewers.Viewers(connection))
    record, seen = await watcher.read(job_id), []
    async for text in event_stream(
        watcher, record, "0-0", lambda record: job_view(record, "").model_dump_json(), attention, keep_alive_s=0.1
    ):
        seen.append(text)
        if len(seen) == 3:
            await asyncio.to_thread(worker.draw, job_id)
    await attention.close()
    listening.cancel()
    await connection.aclose(close_connection_pool=True)
    assert seen[1:3] == [": keep-alive\n\n"] * 2
    assert parse(seen[-1])[0]["data"]["status"] == "succeeded"
    assert not watcher._waiting


def test_a_reader_that_leaves_is_forgotten(client, new_job, worker):
    job_id = new_job()
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        assert next(answer.iter_lines()).startswith("id: ")
    worker.draw(job_id)
    assert client.get(f"/v1/jobs/{job_id}").json()["status"] == "succeeded"


def test_a_job_is_watched_while_its_stream_is_open(client, new_job, worker, redis):
    job_id = new_job()
    worker.start(job_id)
    assert worker.ledger.progress(job_id, EXECUTION, 1, 20) == "go"
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        assert next(answer.iter_lines()).startswith("id: ")
        assert worker.ledger.progress(job_id, EXECUTION, 2, 20) == "watched"
        assert 0 < redis.pttl(watched_key(job_id)) <= WATCHED_S * 1000
    client.get(f"/v1/jobs/{new_job()}?wait=0.1")
    assert [key.decode() for key in redis.keys("*:watched")] == [watched_key(job_id)], "waiting is not watching"


async def test_a_stream_that_stays_open_is_noted_again(redis_url, redis, monkeypatch):
    monkeypatch.setattr(viewers, "RENEW_S", 0.05)
    connection = connect_async(redis_url, "test")
    async with viewers.Viewers(connection).watching(["a", "b"]):
        assert redis.delete(watched_key("a"), watched_key("b")) == 2
        async with asyncio.timeout(10):
            while not redis.exists(watched_key("a")) or not redis.exists(watched_key("b")):
                await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    redis.delete(watched_key("a"))
    await asyncio.sleep(0.2)
    assert not redis.exists(watched_key("a"))
    await connection.aclose(close_connection_pool=True)


def lines_until(lines, text: str) -> list[str]:
    """The lines of a stream up to the first one that begins with ``text``."""
    found = []
    for line in lines:
        found.append(line)
        if line.startswith(text):
            return found
    raise AssertionError(f"the stream ended without {text!r}: {found}")


def test_a_waiting_job_is_told_its_place_when_it_changes(client, new_job, worker, redis):
    first, second, third = new_job(), new_job(), new_job()
    with client.stream("GET", f"/v1/jobs/{third}/events") as answer:
        lines = answer.iter_lines()
        assert lines_until(lines, 'data: {"id"')[1] == "event: status"
        [_, event, data] = lines_until(lines, 'data: {"ahead"')
        assert (event, json.loads(data[6:])) == ("event: queue", {"ahead": 1, "eta_s": None})
        client.post(f"/v1/jobs/{second}/cancel")
        assert json.loads(lines_until(lines, 'data: {"ahead"')[-1][6:])["ahead"] == 0
        assert not redis.keys("*:watched"), "a job that waits has no previews"
        worker.start(third)
        status = json.loads(lines_until(lines, 'data: {"id"')[-1][6:])["status"]
        assert status == "running" and redis.keys("*:watched") == [watched_key(third).encode()]
        worker.succeed(third)
        assert "event: queue" not in list(lines), first


def test_a_reader_that_comes_later_is_told_the_place_too(client, new_job):
    new_job()
    job_id = new_job()
    for _ in range(2):
        with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            lines = answer.iter_lines()
            last = [line for line in lines_until(lines, 'data: {"ahead"') if line.startswith("id: ")][-1][4:]
            headers = {"Last-Event-ID": last}
            with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as resumed:
                assert lines_until(resumed.iter_lines(), "data: {")[-2:-1] == ["event: queue"]

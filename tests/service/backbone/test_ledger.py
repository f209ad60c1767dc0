"""The ledger's transitions: who may make them, what they leave behind, what they announce."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import InternalFailure, OutOfMemory
from models.jobs.records import JobStatus, LoadingNow
from models.jobs.results import Image, StoredFile
from models.jobs.rewrite import Rewrite
from service.backbone import scripts
from service.backbone.keyspace import CANCEL_CHANNEL, WAKE_CHANNEL, events_key, record_key, watched_key
from service.backbone.ledger import CRASH_LIMIT
from service.backbone.records import UnreadableRecord
from tests.service.backbone.damage import UNREADABLE

IMAGE = Image("00000000-0000-4000-8000-000000000000", 128, 128)


def cancel(ledger, job: str) -> bytes:
    script = ledger.connection.register_script(scripts.cancel())
    return script(keys=[record_key(job), events_key(job)], args=["1.0", 3600])


def events(redis, job: str) -> list[tuple[str, str]]:
    return [(fields[b"kind"].decode(), fields[b"data"].decode()) for _, fields in redis.xrange(events_key(job))]


def test_a_job_from_start_to_end(ledger, job, redis):
    assert ledger.start(job, "a") == 0
    assert ledger.progress(job, "a", 1, 20) == "go"
    assert ledger.progress(job, "a", 2, 20, preview="data:,x") == "go"
    assert ledger.succeed(job, "a", [IMAGE], {"denoise_s": 1.5})
    record = ledger.read(job)
    assert (record.status, record.images, record.timings) == (JobStatus.SUCCEEDED, (IMAGE,), {"denoise_s": 1.5})
    assert (record.step, record.steps) == (20, 20)
    assert record.created_at <= record.started_at <= record.finished_at
    assert events(redis, job) == [
        ("status", "queued"),
        ("status", "running"),
        ("progress", json.dumps({"step": 1, "steps": 20})),
        ("preview", json.dumps({"step": 2, "image": "data:,x"})),
        ("status", "succeeded"),
    ]
    assert 3500 < redis.ttl(record_key(job)) <= 3600
    assert 3500 < redis.ttl(events_key(job)) <= 3600


def test_what_became_of_a_prompt_is_kept_and_announced(ledger, job, redis):
    rewrite = Rewrite(status="applied", revised_prompt="a cat, rain", engine="m", template="tags-1", elapsed_s=0.5)
    assert not ledger.note_rewrite(job, "a", rewrite)
    ledger.start(job, "a")
    assert ledger.note_rewrite(job, "a", rewrite)
    assert not ledger.note_rewrite(job, "other", Rewrite(status="timeout"))
    record = ledger.read(job)
    assert record.rewrite == rewrite and record.drawn_params.prompt == "a cat, rain" != record.params.prompt
    kind, data = events(redis, job)[-1]
    assert kind == "rewrite" and Rewrite.from_payload(json.loads(data)) == rewrite


def test_a_job_that_waits_or_runs_does_not_expire(ledger, job, redis):
    assert redis.ttl(record_key(job)) == -1
    ledger.start(job, "a")
    assert redis.ttl(record_key(job)) == -1


def test_only_the_last_execution_may_write(ledger, job):
    ledger.start(job, "old")
    assert ledger.start(job, "new") == 1
    assert ledger.progress(job, "old", 5, 20) == "over"
    assert not ledger.succeed(job, "old", [IMAGE], {})
    assert not ledger.fail(job, "old", OutOfMemory("too large"))
    assert not ledger.cancel(job, "old")
    assert not ledger.requeue(job, "old")
    assert ledger.read(job).status is JobStatus.RUNNING
    assert ledger.progress(job, "new", 1, 20) == "go"
    assert ledger.succeed(job, "new", [IMAGE], {})


REPORTS = st.lists(
    st.tuples(
        st.sampled_from(["step", "preview", "loading", "die", "requeue"]), st.integers(0, 60), st.integers(0, 60)
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(REPORTS)
def test_progress_only_rises(ledger, intake, ticket, redis, reports):
    """Whatever a job's executions report, in the record and in the events: over second passes, crashes and requeues."""
    redis.flushdb()
    job, execution, shown = intake.accept(ticket(), {}).record.job_id, 0, [0.0]
    ledger.start(job, "0")
    for kind, step, steps in reports:
        if kind == "die" and execution < CRASH_LIMIT - 1:
            execution += 1
            ledger.start(job, str(execution))
        elif kind == "requeue":
            ledger.requeue(job, str(execution))
            ledger.start(job, str(execution))
        else:
            extra = (
                {"preview": "data:,x"}
                if kind == "preview"
                else {"loading": LoadingNow("m")}
                if kind == "loading"
                else {}
            )
            ledger.progress(job, str(execution), min(step, steps), steps, **extra)
        record = ledger.read(job)
        shown.append(record.step / max(record.steps, 1))
    assert shown == sorted(shown) and shown[-1] <= 1
    told = [json.loads(data) for kind, data in events(redis, job) if kind == "progress"]
    shares = [each["step"] / max(each["steps"], 1) for each in told]
    assert shares == sorted(shares)


def test_what_is_over_stays_over(ledger, job, redis):
    ledger.start(job, "a")
    assert ledger.fail(job, "a", OutOfMemory("too large"))
    before = redis.hgetall(record_key(job))
    assert ledger.start(job, "b") is None
    assert not ledger.succeed(job, "a", [IMAGE], {})
    assert cancel(ledger, job) == b"failed"
    assert redis.hgetall(record_key(job)) == before
    record = ledger.read(job)
    assert (record.error_code, record.error_message) == ("out_of_memory", "too large")


def test_a_job_that_ends_workers_is_given_up(ledger, job):
    assert [ledger.start(job, f"e{i}") for i in range(CRASH_LIMIT)] == [0, 1, 2]
    assert ledger.start(job, "last") is None
    record = ledger.read(job)
    assert (record.status, record.error_code) == (JobStatus.FAILED, "worker_crashed")


def test_a_requeued_job_has_no_crash(ledger, job):
    for execution in ("a", "b", "c", "d", "e"):
        assert ledger.start(job, execution) == 0
        assert ledger.requeue(job, execution)
        record = ledger.read(job)
        assert (record.status, record.step) == (JobStatus.QUEUED, 0)
    assert not ledger.requeue(job, "e")


def test_cancelling_a_queued_job_ends_it(ledger, job, redis):
    assert cancel(ledger, job) == b"ended"
    assert cancel(ledger, job) == b"canceled"
    assert ledger.read(job).status is JobStatus.CANCELED
    assert events(redis, job)[-1] == ("status", "canceled")
    assert ledger.start(job, "a") is None


def test_cancelling_a_running_job_asks_its_worker(ledger, job, redis):
    ledger.start(job, "a")
    with redis.pubsub() as subscription:
        subscription.subscribe(CANCEL_CHANNEL)
        assert subscription.get_message(timeout=1)["type"] == "subscribe"
        assert cancel(ledger, job) == b"requested"
        assert subscription.get_message(timeout=1)["data"] == job.encode()
    assert ledger.read(job).is_cancel_requested
    assert ledger.progress(job, "a", 4, 20) == "cancel"
    assert ledger.read(job).step == 0
    assert ledger.cancel(job, "a")
    assert ledger.read(job).status is JobStatus.CANCELED


def test_a_cancelled_job_whose_worker_died_does_not_start_again(ledger, job):
    ledger.start(job, "a")
    cancel(ledger, job)
    assert ledger.start(job, "b") is None
    assert ledger.read(job).status is JobStatus.CANCELED


def test_a_job_that_was_finished_before_it_was_stopped_counts(ledger, job):
    ledger.start(job, "a")
    cancel(ledger, job)
    assert ledger.succeed(job, "a", [IMAGE], {})
    assert ledger.read(job).status is JobStatus.SUCCEEDED


def test_nothing_comes_of_a_job_that_is_not_there(ledger, redis):
    assert ledger.start("nothing", "a") is None
    assert ledger.progress("nothing", "a", 1, 2) == "over"
    assert not ledger.succeed("nothing", "a", [IMAGE], {})
    assert cancel(ledger, "nothing") is None
    assert ledger.read("nothing") is None
    assert redis.keys("photogram:job:*") == []


def test_every_change_is_announced(ledger, job, redis):
    with redis.pubsub() as subscription:
        subscription.subscribe(WAKE_CHANNEL)
        subscription.get_message(timeout=1)
        ledger.start(job, "a")
        ledger.progress(job, "a", 1, 20)
        ledger.succeed(job, "a", [IMAGE], {})
        assert [subscription.get_message(timeout=1)["data"] for _ in range(3)] == [job.encode()] * 3


def test_events_are_capped(ledger, job, redis):
    ledger.start(job, "a")
    for step in range(800):
        ledger.progress(job, "a", step, 800)
    assert redis.xlen(events_key(job)) < 800


def test_model_problems_are_noted_and_forgotten(ledger, redis):
    ledger.note_model_problem("paint", "no such file")
    assert redis.hgetall("photogram:model-problems") == {b"paint": b"no such file"}
    ledger.note_model_problem("paint", None)
    assert not redis.exists("photogram:model-problems")


def test_what_a_job_waits_for_is_told_until_its_first_step(ledger, job):
    ledger.start(job, "a")
    ledger.progress(job, "a", 0, 20, loading=LoadingNow("model sdxl", 5, 9))
    waiting = ledger.read(job)
    ledger.progress(job, "a", 1, 20)
    drawing = ledger.read(job)
    assert waiting is not None and drawing is not None
    assert (waiting.loading, drawing.loading) == (LoadingNow("model sdxl", 5, 9), None)


def test_documents_and_files_are_kept_in_the_record(ledger, job):
    ledger.start(job, "a")
    files = [StoredFile("00000000-0000-4000-8000-000000000001", "a.bin", "application/octet-stream", 3)]
    assert ledger.succeed(job, "a", [], {}, document={"é": [1, None, 0.5]}, files=files)
    record = ledger.read(job)
    assert (record.document, record.files, record.images) == ({"é": [1, None, 0.5]}, tuple(files), ())


@pytest.mark.parametrize(
    ("document", "words"),
    [("x" * (1 << 20), "1048578 bytes"), (float("inf"), "not valid JSON"), ("\ud800", "not valid JSON")],
)
def test_documents_that_cannot_be_kept_are_failures(ledger, job, document, words: str):
    ledger.start(job, "a")
    with pytest.raises(InternalFailure, match=words):
        ledger.succeed(job, "a", [], {}, document=document)
    assert ledger.read(job).status is JobStatus.RUNNING


def test_the_largest_document_fits(ledger, job):
    ledger.start(job, "a")
    assert ledger.succeed(job, "a", [], {}, document="x" * ((1 << 20) - 2))


def test_cancel_requests_are_found_among_many_jobs(ledger, job):
    ledger.start(job, "a")
    assert ledger.canceled_among([job, "nothing"]) == []
    cancel(ledger, job)
    assert ledger.canceled_among(["nothing", job]) == [job]


def nested(depth: int) -> object:
    document: object = 1
    for _ in range(depth):
        document = [document]
    return document


def containing_itself() -> list[object]:
    document: list[object] = []
    document += [document, document]
    return document


def test_documents_may_be_nested_to_a_limit(ledger, job):
    ledger.start(job, "a")
    for document in (nested(101), nested(100_000), {"a": (nested(100),)}, containing_itself()):
        with pytest.raises(InternalFailure, match="at most 100 levels"):
            ledger.succeed(job, "a", [], {}, document=document)
    assert ledger.succeed(job, "a", [], {}, document=nested(100))
    assert ledger.read(job).document == nested(100)


@pytest.mark.parametrize("message", ["x" * 3_000_000, "\ud800" * 2001])
def test_the_message_of_a_failure_is_cut_off(ledger, job, redis, message: str):
    ledger.start(job, "a")
    assert ledger.fail(job, "a", OutOfMemory(message))
    assert len(ledger.read(job).error_message) == 2000
    ledger.note_model_problem("paint", message)
    assert len(redis.hget("photogram:model-problems", "paint").decode()) == 2000


@pytest.mark.parametrize(("field", "value"), UNREADABLE)
def test_a_record_that_cannot_be_read_is_one_error(ledger, job, redis, field: str, value: str | bytes):
    redis.hset(record_key(job), field, value)
    with pytest.raises(UnreadableRecord):
        ledger.read(job)


def test_a_report_learns_whether_the_job_is_watched(ledger, job, redis):
    ledger.start(job, "a")
    redis.set(watched_key(job), "1")
    assert ledger.progress(job, "a", 2, 20) == "watched"
    assert ledger.progress(job, "a", 1, 20) == "watched", "also where no progress is shown"
    assert ledger.progress(job, "a", 2, 20, loading=LoadingNow("a model")) == "watched"
    assert ledger.progress(job, "b", 3, 20) == "over"
    redis.delete(watched_key(job))
    assert ledger.progress(job, "a", 3, 20) == "go"

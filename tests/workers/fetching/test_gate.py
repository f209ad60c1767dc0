"""Jobs that wait for slow hosts: they hold up nobody else, none is lost, and all get their turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from redis import Redis

from models.jobs.params import DrawRequest, Mask, UpscaleRequest
from models.jobs.records import JobStatus
from service.backbone import scripts
from service.backbone.inputs import InputStore
from service.backbone.keyspace import events_key, fetch_owners_key, fetches_key, record_key
from service.backbone.store import ImageStore
from tests.polling import until
from tests.waiting import waiting_jobs
from tests.workers.parts import Parts, submit
from workers.fetch import FetchLimits
from workers.fetching import gate
from workers.fetching.slots import PER_KEY_AND_HOST_MAX, PER_KEY_MAX
from workers.held_jobs import HeldJob
from workers.images import ImageLoader
from workers.prepare import Prepare

_PNG = BytesIO()
Image.new("RGB", (8, 4), "red").save(_PNG, "PNG")
FILE = _PNG.getvalue()


class Host(BaseHTTPRequestHandler):
    """``/quick`` gives an image at once; ``/drip`` gives it byte by byte, the last ones once the server is released."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            if self.path.startswith("/drip"):
                self.drip()
            else:
                self.wfile.write(FILE)

    def drip(self) -> None:
        self.server.open_drips.append(self.path)  # type: ignore[attr-defined]
        sent = 0
        while not self.server.released.wait(0.05):  # type: ignore[attr-defined]
            if sent < len(FILE) // 2:
                self.wfile.write(FILE[sent : sent + 1])
                sent += 1
        self.wfile.write(FILE[sent:])

    def log_message(self, *_: object) -> None:
        """Keep still."""


@pytest.fixture
def host() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        server.daemon_threads = True
        server.open_drips, server.released = [], threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


@pytest.fixture
def worker(redis: Redis) -> Parts:
    return Parts(redis)


@pytest.fixture
def prepare(worker: Parts, tmp_path: Path) -> Iterator[Prepare]:
    limits = FetchLimits(max_bytes=100_000, deadline_s=300.0, allow_private=True)
    loader = ImageLoader(InputStore(tmp_path / "inputs"), ImageStore(tmp_path / "images"), limits)
    made = worker.prepare(loader)
    made.start()
    yield made
    made.stop()


def next_ready(prepare: Prepare) -> HeldJob:
    job = prepare.ready.get(timeout=30)
    assert job is not None and job.failure is None, job and job.failure
    return job


def img2img(redis: Redis, url: str, owner: str) -> str:
    return submit(redis, DrawRequest(kind="img2img", prompt="x", image=url), owner)


@pytest.mark.parametrize("count", [24, 200])
def test_slow_hosts_of_one_key_hold_up_nobody(
    redis: Redis, worker: Parts, prepare: Prepare, host: ThreadingHTTPServer, count: int
) -> None:
    slow, quick = f"http://127.0.0.1:{host.server_port}/drip", f"http://localhost:{host.server_port}/quick"
    theirs = [img2img(redis, f"{slow}/{number}", "a") for number in range(count)]
    ours = [submit(redis, None, "b"), img2img(redis, quick, "b"), submit(redis, UpscaleRequest(image=quick), "b")]
    own_quick = img2img(redis, quick, "a")  # also of the key that waits
    ready = [next_ready(prepare) for _ in range(4)]
    assert {job.job_id for job in ready} == {*ours, own_quick}
    until(lambda: len(host.open_drips) == PER_KEY_AND_HOST_MAX)  # type: ignore[attr-defined]
    assert redis.zcard(fetches_key()) == count - PER_KEY_AND_HOST_MAX
    assert len(worker.held) == PER_KEY_AND_HOST_MAX + 4
    statuses = {worker.ledger.read(job_id).status for job_id in theirs[PER_KEY_MAX:]}  # type: ignore[union-attr]
    assert statuses == {JobStatus.QUEUED}
    host.released.set()  # type: ignore[attr-defined]
    ended = []
    for _ in theirs:
        job = next_ready(prepare)
        assert next(iter(job.images.values())).size == (128, 128), "reduced to the size that is drawn"
        ended.append(job.job_id)
    assert sorted(ended) == sorted(theirs)
    assert prepare.ready.empty() and worker.consumer.gate.slots.taken == 0
    assert redis.zcard(fetches_key()) == 0


def test_a_mask_at_a_slow_host_counts_too(
    redis: Redis, worker: Parts, prepare: Prepare, host: ThreadingHTTPServer
) -> None:
    slow, quick = f"http://127.0.0.1:{host.server_port}/drip", f"http://localhost:{host.server_port}/quick"
    for number in range(10):
        request = DrawRequest(kind="inpaint", prompt="x", image=quick, mask=Mask(image=f"{slow}/{number}"))
        submit(redis, request, "a")
    until(lambda: redis.zcard(fetches_key()) == 10 - PER_KEY_AND_HOST_MAX)
    assert len(worker.held) == PER_KEY_AND_HOST_MAX
    free = submit(redis, None, "a")
    assert next_ready(prepare).job_id == free


# The way through Redis


URL = "http://127.0.0.1/x.png"


def filled(worker: Parts, owner: str = "a", host: str = "127.0.0.1") -> list[HeldJob]:
    """Take as many jobs with images at ``host`` as a key may."""
    jobs = []
    for _ in range(PER_KEY_AND_HOST_MAX):
        img2img(worker.redis, f"http://{host}/x.png", owner)
        job = worker.consumer.take(1)
        assert job is not None
        jobs.append(job)
    return jobs


def freed(worker: Parts, job: HeldJob) -> None:
    worker.consumer.gate.leave(job.record)


def test_the_oldest_waiting_job_goes_first_and_other_hosts_pass(redis: Redis, worker: Parts) -> None:
    held = filled(worker)
    waiting = [img2img(redis, URL, "a") for _ in range(3)]
    assert [worker.consumer.take(1) for _ in waiting] == [None] * 3
    assert waiting_jobs(redis) == [] and redis.zcard(fetches_key()) == 3
    other = img2img(redis, "http://other.example/x.png", "a")
    assert taken(worker) == other
    for job, expected in zip(held, waiting, strict=False):
        freed(worker, job)
        assert taken(worker) == expected


def taken(worker: Parts) -> str | None:
    job = worker.consumer.take(0.01)
    return None if job is None else job.job_id


def test_keys_have_their_turn(redis: Redis, worker: Parts) -> None:
    first, second = filled(worker, "a"), filled(worker, "b")
    of_a = [img2img(redis, URL, "a") for _ in range(3)]
    of_b = [img2img(redis, URL, "b") for _ in range(2)]
    for _ in range(5):
        assert worker.consumer.take(1) is None
    for job in (*first, *second):
        freed(worker, job)
    assert [taken(worker) for _ in range(5)] == [of_a[0], of_b[0], of_a[1], of_b[1], of_a[2]]
    assert taken(worker) is None and redis.zcard(fetch_owners_key()) == 0


def test_waiting_jobs_outlive_their_worker(redis: Redis, worker: Parts) -> None:
    filled(worker)
    waiting = [img2img(redis, URL, "a") for _ in range(2)]
    assert [worker.consumer.take(1) for _ in waiting] == [None, None]
    another = Parts(redis, "another")
    assert [taken(another), taken(another)] == waiting


def test_a_canceled_job_frees_its_slot(redis: Redis, worker: Parts) -> None:
    (first, *_) = filled(worker)
    waiting = img2img(redis, URL, "a")
    assert worker.consumer.take(1) is None
    cancel = redis.register_script(scripts.cancel())
    cancel(keys=[record_key(waiting), events_key(waiting)], args=[repr(time.time()), 600])
    freed(worker, first)
    assert taken(worker) is None
    assert redis.zcard(fetches_key()) == 0 and worker.consumer.gate.slots.taken == PER_KEY_AND_HOST_MAX - 1


def test_a_job_whose_record_is_gone_takes_no_slot(redis: Redis, worker: Parts) -> None:
    gone, damaged = img2img(redis, URL, "a"), img2img(redis, URL, "a")
    redis.delete(record_key(gone))
    redis.hset(record_key(damaged), "params", "{")
    assert worker.consumer.take(1) is None and worker.consumer.take(1) is None
    assert worker.consumer.gate.slots.taken == 0


def test_redis_is_not_asked_again_before_a_slot_is_free(
    redis: Redis, worker: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_LOOK_S", 1e9)
    held = filled(worker)
    img2img(redis, URL, "a")
    assert worker.consumer.take(1) is None
    assert worker.consumer.gate.claim() is None
    redis.config_resetstat()
    for _ in range(50):
        assert worker.consumer.gate.claim() is None
    assert "cmdstat_evalsha" not in redis.info("commandstats")
    freed(worker, held[0])
    assert worker.consumer.gate.claim() is not None

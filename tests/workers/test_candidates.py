"""Jobs with several candidates: the engine draws them side by side, and the finish stage keeps the best."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from redis import Redis

from models.catalog.catalog import Catalog
from models.catalog.families import TXT2IMG
from models.diffusion import snapshots
from models.diffusion.engine import Engine
from models.diffusion.scheduler import current_work
from models.errors import DeadlineExceeded, JobFailure
from models.jobs.candidates import seed_of
from models.jobs.params import SEED_MAX, DrawParams, DrawRequest
from models.jobs.records import JobRecord, JobStatus
from models.jobs.results import JobOutput
from models.jobs.rewrite import APPLIED, Rewrite
from models.jobs.tickets import open_ticket
from service.backbone.catalog_file import CatalogFile
from service.backbone.keyspace import snapshot_key
from service.backbone.ledger import Ledger
from service.backbone.settings import Settings
from service.backbone.store import FileStore, ImageStore
from tests.intake import BlockingIntake
from tests.models.diffusion.rig import Studio, WatchedDenoiser, params, pixel_difference
from tests.tiny import build_tiny_sd
from tests.workers.conftest import World
from tests.workers.parts import CATALOG, Parts, marking
from workers.choosing import Fit, choose
from workers.diffusion import EngineExecutor
from workers.executors import PREFETCH, Event, Failed, Finished, Progressed
from workers.finish import Finish
from workers.held_jobs import HeldJob
from workers.safety import Safety

RED, GREEN, BLUE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
IMAGES = tuple(Image.new("RGB", (8, 8), color) for color in (RED, GREEN, BLUE))


def blueness(image: Image.Image, text: str) -> float:
    """Prefers blue to red to green."""
    return {RED: 0.5, GREEN: -0.25, BLUE: 0.98765432}[image.getpixel((0, 0))]  # type: ignore[index]


# The engine


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio.open(build_tiny_sd(tmp_path_factory.mktemp("candidates")))


def job_of(studio: Studio, wanted: DrawParams, execution_id: str = "one", snapshot: bytes | None = None) -> HeldJob:
    """A held job as far as the executor reads it."""
    record = SimpleNamespace(
        kind=TXT2IMG, params=wanted, drawn_params=wanted, safety_policy="off", owner="me", weight=1,
        of_candidate=lambda seed: SimpleNamespace(
            kind=TXT2IMG, drawn_params=replace(wanted, seed=seed, best_of=1, keep=1)
        ),
    )  # fmt: skip
    catalog = Catalog({"tiny": studio.spec})
    job: Any = SimpleNamespace(
        record=record, execution_id=execution_id, catalog=catalog, images={}, is_watched=True, snapshot=snapshot
    )
    return job  # type: ignore[no-any-return]


def executor_of(engine: Engine, redis: Redis, tmp_path: Path) -> EngineExecutor:
    return EngineExecutor(engine, CatalogFile(tmp_path / "catalog.toml"), Ledger(redis, 60), "cpu")


@pytest.fixture
def executor(studio: Studio, redis: Redis, tmp_path: Path) -> Iterator[Callable[..., EngineExecutor]]:
    """Opens executors, each with an engine of its own."""
    opened: list[EngineExecutor] = []

    def open_one(**options: Any) -> EngineExecutor:
        opened.append(executor_of(studio.engine(**options), redis, tmp_path))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def run(executor: EngineExecutor, turns: int = 500) -> list[Event]:
    found: list[Event] = []
    for _ in range(turns):
        if executor.is_idle:
            break
        found += executor.poll()
    return found


def finished(events: list[Event]) -> Finished:
    (end,) = [event for event in events if isinstance(event, Finished | Failed)]
    assert isinstance(end, Finished)
    return end


def drawn(executor: EngineExecutor, job: HeldJob) -> tuple[Image.Image, ...]:
    executor.start(job)
    return finished(run(executor)).output.images


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M"])
def test_each_candidate_is_the_image_that_its_seed_gives_alone(
    executor: Callable[..., EngineExecutor], studio: Studio, sampler: str
) -> None:
    wanted = params(seed=SEED_MAX - 1, sampler=sampler)
    engine = executor(rows=3)
    engine.start(job_of(studio, replace(wanted, best_of=5)))
    events = run(engine)
    made = finished(events).output.images
    assert len(made) == 5
    alone = executor()
    for image, seed in zip(made, (SEED_MAX - 1, SEED_MAX, 0, 1, 2), strict=True):
        (single,) = drawn(alone, job_of(studio, replace(wanted, seed=seed)))
        assert pixel_difference(image, single) <= 1, seed
    assert len({image.tobytes() for image in made}) == 5
    steps = [(event.step, event.steps) for event in events if isinstance(event, Progressed)]
    assert steps == [(step, steps[0][1]) for step in range(1, steps[0][1] + 1)], "the steps of all candidates"
    assert {event.execution_id for event in events} == {"one"}
    assert finished(events).backends == (studio.checkpoint.denoiser.name,)


def test_candidates_share_their_forwards(executor: Callable[..., EngineExecutor], studio: Studio) -> None:
    watched = WatchedDenoiser(studio.checkpoint.denoiser)
    engine = executor(denoiser=watched, rows=8)
    drawn(engine, job_of(studio, params(best_of=4)))
    assert max(watched.batches) == 8, "four candidates, each with and without the prompt"


def test_previews_are_of_the_first_candidate(executor: Callable[..., EngineExecutor], studio: Studio) -> None:
    engine = executor(preview_every=1)
    engine.start(job_of(studio, params(best_of=3, num_inference_steps=6)))
    shown = [event.preview for event in run(engine) if isinstance(event, Progressed) and event.preview is not None]
    assert 1 <= len(shown) <= 6


def test_a_job_that_is_canceled_in_the_middle_leaves_no_row(
    executor: Callable[..., EngineExecutor], studio: Studio
) -> None:
    engine = executor(rows=2)
    engine.start(job_of(studio, params(best_of=6)))
    while not any(isinstance(event, Progressed) for event in engine.poll()):
        pass
    engine.stop("one")
    assert engine.is_idle and engine.poll() == []
    assert engine.save("one") is None


def test_a_candidate_that_fails_fails_the_job_and_ends_the_others(
    executor: Callable[..., EngineExecutor], studio: Studio
) -> None:
    """The latents of the third one become NaN; another job beside it ends well."""
    engine = executor()
    engine.start(job_of(studio, params(best_of=4)))
    engine.start(job_of(studio, params(seed=77), execution_id="other"))
    while not any(event.step >= 8 for event in engine.poll() if isinstance(event, Progressed)):
        pass
    row = engine._engine._scheduler.find("one.2")
    assert row is not None
    work: Any = current_work(row)
    work.latents = torch.full_like(work.latents, torch.nan)
    ends = [event for event in run(engine) if isinstance(event, Finished | Failed)]
    assert {event.execution_id: type(event) for event in ends} == {"one": Failed, "other": Finished}
    assert len(ends) == 2


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_another_engine_goes_on_with_all_candidates(
    executor: Callable[..., EngineExecutor], studio: Studio, rows: int
) -> None:
    """At every moment: some candidates are done, some in the middle, some have not begun."""
    wanted = params(best_of=4, num_inference_steps=3, sampler="Euler a")
    first, saved = executor(rows=rows), []
    first.start(job_of(studio, wanted))
    events: list[Event] = []
    while not first.is_idle:
        events += first.poll()
        saved.append((sum(isinstance(event, Progressed) for event in events), first.save("one")))
    whole = finished(events).output.images
    kept = [(steps, snapshot) for steps, snapshot in saved if snapshot is not None]
    assert len(kept) >= 2
    for steps, snapshot in kept:
        second = executor(rows=rows)
        second.start(job_of(studio, wanted, "two", snapshot))
        later = run(second)
        images = finished(later).output.images
        assert [pixel_difference(*pair) for pair in zip(images, whole, strict=True)] == [0] * 4, steps
        assert sum(isinstance(event, Progressed) for event in later) < 12, "no candidate began again"


def test_a_snapshot_of_another_number_of_candidates_or_damaged_lets_all_begin_again(
    executor: Callable[..., EngineExecutor], studio: Studio
) -> None:
    wanted = params(best_of=2)
    other = snapshots.save_rows([IMAGES[0], None, None])
    whole = drawn(executor(), job_of(studio, wanted))
    for snapshot in (other, b"damaged"):
        assert drawn(executor(), job_of(studio, wanted, snapshot=snapshot)) == whole


def test_too_much_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert snapshots.save_rows([None, None]) is None
    monkeypatch.setattr(snapshots, "MAX_BYTES", 100)
    assert snapshots.save_rows([IMAGES[0], None]) is None


def test_a_job_with_many_candidates_leaves_room_for_one_more_job(
    executor: Callable[..., EngineExecutor], studio: Studio
) -> None:
    """Jobs of other keys that wait behind it could not share the device with it otherwise."""
    engine = executor(rows=2)
    assert engine.room == PREFETCH
    engine.start(job_of(studio, params(best_of=16)))
    assert engine.room == PREFETCH - 1
    engine.start(job_of(studio, params(best_of=16), execution_id="two"))
    assert engine.room == 0
    engine.start(job_of(studio, params(), execution_id="three"))
    assert engine.room == -1


# The choice


def record_of(**changes: Any) -> JobRecord:
    """A record as far as the choice reads it."""
    ticket = open_ticket(DrawRequest(**({"prompt": "x", "best_of": 3, "seed": 8} | changes)), CATALOG, owner="me")
    return JobRecord(
        job_id="job", kind=TXT2IMG, owner="me", status=JobStatus.RUNNING, params=ticket.params, requested={},
        image_id="image", step=0, steps=0, images=(), document=None, files=(), timings={}, error_code=None,
        error_message=None, created_at=0.0, started_at=None, finished_at=None,
    )  # fmt: skip


def nothing() -> None:
    pass


def test_the_best_are_kept_and_of_equals_the_earlier() -> None:
    chosen = choose(record_of(keep=2), IMAGES, blueness, nothing)
    assert chosen.images == (IMAGES[2], IMAGES[0])
    assert [record.params for record in chosen.records] == [
        replace(record_of().params, seed=seed, best_of=1, keep=1) for seed in (10, 8)
    ]
    equal = choose(record_of(keep=3), IMAGES, lambda image, text: 0.0, nothing)
    assert equal.images == IMAGES


@pytest.mark.parametrize(("least", "kept"), [(-1, (2, 0, 1)), (0.5, (2, 0)), (0.5001, (2,)), (0.9877, (2,))])
def test_none_is_kept_that_fits_worse_than_asked(least: float, kept: tuple[int, ...]) -> None:
    chosen = choose(record_of(keep=3, min_score=least), IMAGES, blueness, nothing)
    assert chosen.images == tuple(IMAGES[index] for index in kept)
    assert all(record.params.min_score is None for record in chosen.records)  # type: ignore[attr-defined]
    alone = choose(record_of(best_of=1, min_score=-0.25), IMAGES[1:2], blueness, nothing)
    assert alone.images == IMAGES[1:2]


def test_the_words_that_are_drawn_are_compared_and_nothing_else() -> None:
    texts = set[str]()

    def note(image: Image.Image, text: str) -> float:
        texts.add(text)
        return 0.0

    record = record_of(prompt="a (red:1.3) cat, [old] (ugly:-1)")
    choose(record, IMAGES, note, nothing)
    choose(replace(record, rewrite=Rewrite(status=APPLIED, revised_prompt="a (big) dog")), IMAGES, note, nothing)
    assert texts == {"a red cat, old", "a big dog"}


def test_a_score_that_fails_is_a_failure_of_the_job() -> None:
    def broken(image: Image.Image, text: str) -> float:
        raise RuntimeError("onnx")

    with pytest.raises(JobFailure, match="could not be compared with the prompt"):
        choose(record_of(), IMAGES, broken, nothing)


def test_a_job_without_time_is_not_scored() -> None:
    def late() -> None:
        raise DeadlineExceeded("late")

    with pytest.raises(DeadlineExceeded):
        choose(record_of(), IMAGES, lambda image, text: pytest.fail("was scored"), late)


def finish_one(
    redis: Redis, tmp_path: Path, fit: Fit = blueness, safety: Safety | None = None, **choices: Any
) -> tuple[JobRecord, ImageStore]:
    """A job whose three candidates are ``IMAGES``, ended by the last stage."""
    parts, store = Parts(redis), ImageStore(tmp_path / "images")
    finish = Finish(parts.consumer, store, FileStore(tmp_path / "files"), marking(tmp_path), 60, safety=safety, fit=fit)
    request = DrawRequest(**({"prompt": "a cat", "best_of": 3, "seed": 8} | choices))
    ticket = open_ticket(request, CATALOG, owner="me")
    BlockingIntake(redis, 1000).accept(ticket, {})
    job = parts.consumer.take(1)
    assert job is not None and job.become_ready() and job.start_running() and job.start_ending()
    finish.succeed(job, Finished(job.execution_id, JobOutput(images=IMAGES), {}, ("openvino-int8", "eager")))
    finish.close()
    record = parts.ledger.read(ticket.job_id)
    assert record is not None
    return record, store


def test_only_what_is_kept_is_stored_and_its_file_tells_its_own_seed(redis: Redis, tmp_path: Path) -> None:
    record, store = finish_one(redis, tmp_path, keep=2)
    assert record.status is JobStatus.SUCCEEDED and len(record.images) == 2
    assert record.backends == ("openvino-int8", "eager")
    first, second = (image.image_id for image in record.images)
    assert first == record.image_id
    assert record.document == {
        "best_of": [
            {"seed": 8, "score": 0.5, "image_id": second},
            {"seed": 9, "score": -0.25, "image_id": None},
            {"seed": 10, "score": 0.9877, "image_id": first},
        ]
    }
    for image_id, seed, color in ((first, 10, BLUE), (second, 8, RED)):
        stored = store.find(image_id)
        assert stored is not None
        with Image.open(BytesIO(stored.read())) as file:
            assert file.getpixel((0, 0)) == color
            assert f"Seed: {seed}," in file.info["parameters"]
            told = json.loads(file.info["photogram"])["params"]
        assert told["seed"] == seed and "best_of" not in told and "keep" not in told
        assert seed_of(record, image_id) == seed
    assert len(list((tmp_path / "images").rglob("*.png"))) == 2


@pytest.mark.parametrize("choices", [{"keep": 2}, {"keep": 1}])
def test_a_job_without_an_image_that_fits_fails_with_its_scores(
    redis: Redis, tmp_path: Path, choices: dict[str, int]
) -> None:
    record, _ = finish_one(redis, tmp_path, min_score=0.99, **choices)
    assert (record.status, record.error_code, record.error_field) == (JobStatus.FAILED, "score_too_low", "min_score")
    assert (
        record.error_message is not None
        and "the best score is 0.9877, and must be at least 0.99" in record.error_message
    )
    assert scores(record) == [(8, 0.5), (9, -0.25), (10, 0.9877)] and record.images == ()
    assert not list((tmp_path / "images").rglob("*.png"))


def test_fewer_are_kept_than_asked_for_where_the_others_fit_too_badly(redis: Redis, tmp_path: Path) -> None:
    record, store = finish_one(redis, tmp_path, keep=3, min_score=0.6)
    assert record.status is JobStatus.SUCCEEDED and len(record.images) == 1
    assert [(seed, score) for seed, score in scores(record)] == [(8, 0.5), (9, -0.25), (10, 0.9877)]
    stored = store.find(record.images[0].image_id)
    assert stored is not None and b"min_score" not in stored.read()


def test_a_choice_that_fails_stores_nothing(redis: Redis, tmp_path: Path) -> None:
    def broken(image: Image.Image, text: str) -> float:
        raise RuntimeError("onnx")

    record, _ = finish_one(redis, tmp_path, broken)
    assert record.status is JobStatus.FAILED and record.error_code == "internal_error"
    assert not list((tmp_path / "images").rglob("*.png"))


def refuse_red(image: Image.Image) -> str | None:
    return "it is red" if image.getpixel((0, 0)) == RED else None


@pytest.mark.parametrize(("keep", "status"), [(1, JobStatus.SUCCEEDED), (2, JobStatus.FAILED)])
def test_the_safety_policy_looks_at_what_is_kept(redis: Redis, tmp_path: Path, keep: int, status: JobStatus) -> None:
    """The red image is the second best."""
    safety = Safety(Settings(safety_hook=f"{__name__}:refuse_red"), lambda: CATALOG)
    record, _ = finish_one(redis, tmp_path, safety=safety, keep=keep)
    assert record.status is status
    assert (record.error_code == "content_refused") is (status is JobStatus.FAILED)
    assert len(list((tmp_path / "images").rglob("*.png"))) == (1 if status is JobStatus.SUCCEEDED else 0)


# A worker


def test_a_worker_that_is_stopped_and_one_that_dies_lose_no_candidate(world: World) -> None:
    """The next worker ends with the images and scores that one worker alone would have come to."""
    world.set_environment(PHOTOGRAM_SNAPSHOT_EVERY="5", PHOTOGRAM_BACKEND="eager", PHOTOGRAM_ROWS="3")
    choices = {"seed": 3, "best_of": 4, "keep": 2, "num_inference_steps": 100}
    worker = world.start_worker()
    whole = world.submit(**choices)
    world.until_over(whole)
    killed = world.submit(**choices)
    world.until_step(killed, 100)
    world.until(lambda: bool(world.redis.exists(snapshot_key(killed))))
    world.kill(worker)
    assert world.record(killed).status is JobStatus.RUNNING
    worker = world.start_worker()
    world.until_over(killed)
    stopped = world.submit(**choices | {"num_inference_steps": 500})
    world.until_step(stopped, 200)
    worker.terminate()
    worker.wait(20)
    assert world.record(stopped).status is JobStatus.QUEUED
    world.start_worker()
    records = world.until_over(whole, killed, stopped)
    assert [record.status for record in records] == [JobStatus.SUCCEEDED] * 3
    first, second = (scores(record) for record in records[:2])
    assert first == second
    assert [len(record.images) for record in records] == [2, 2, 2]
    assert pixels(world, records[0]) == pixels(world, records[1])
    assert records[0].steps == records[0].step


def scores(record: JobRecord) -> list[tuple[int, float]]:
    document: Any = record.document
    return [(each["seed"], each["score"]) for each in document["best_of"]]


def pixels(world: World, record: JobRecord) -> list[bytes]:
    store = ImageStore(world.data / "images")
    found = [store.find(image.image_id) for image in record.images]
    return [Image.open(BytesIO(each.read())).tobytes() for each in found if each is not None]

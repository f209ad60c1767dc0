"""Jobs whose prompt is rewritten, in real worker processes, with a stub of a language engine that may misbehave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from redis import Redis

from models.jobs.params import DrawRequest
from models.jobs.records import JobRecord, JobStatus
from models.language.client import LanguageEngine
from models.language.presets import GENERIC
from models.language.rewriting import Rewriter
from models.media import png
from service.backbone.inputs import InputStore
from service.backbone.store import ImageStore
from tests.engine_stub import HTML, Drip, EngineStub, Hang, HangUp, Raw, Say, error
from tests.workers.parts import Parts, submit
from workers.fetch import FetchLimits
from workers.images import ImageLoader
from workers.rewriting import Rewriting

DEADLINE_S = 1.0
ADDED = ", soft morning light"


@pytest.fixture
def engine(world) -> Iterator[EngineStub]:
    with EngineStub() as stub:
        stub.answer_with(ADDED)
        world.set_environment(
            PHOTOGRAM_LLM="auto", PHOTOGRAM_LLM_URL=stub.url, PHOTOGRAM_LLM_DEADLINE_S=str(DEADLINE_S)
        )
        yield stub


@asynccontextmanager
async def rewriter(url: str) -> AsyncIterator[Rewriter]:
    engine = LanguageEngine(url)
    try:
        yield Rewriter(engine, GENERIC, deadline_s=DEADLINE_S)
    finally:
        await engine.aclose()


def drawn_file(world, record: JobRecord) -> bytes:
    stored = ImageStore(world.data / "images").find(record.images[0].image_id)
    assert stored is not None
    return stored.read()


def test_a_rewritten_prompt_is_drawn_and_told_everywhere(world, engine: EngineStub) -> None:
    world.set_environment(PHOTOGRAM_ROWS="1")  # images that are drawn together may differ in their last bit
    asked = world.submit("a cat", enhance_prompt=True, seed=5)
    plain = world.submit("a cat", seed=5)
    direct = world.submit(f"a cat{ADDED}", seed=5)
    world.start_worker()
    record, untouched, same = world.until_over(asked, plain, direct)
    assert [each.status for each in (record, untouched, same)] == [JobStatus.SUCCEEDED] * 3
    assert record.rewrite is not None and record.rewrite.status == "applied"
    assert record.rewrite.revised_prompt == f"a cat{ADDED}" and record.rewrite.engine == "stub"
    assert record.params.prompt == "a cat" and record.drawn_params.prompt == f"a cat{ADDED}"
    assert untouched.rewrite is None
    file = drawn_file(world, record)
    request = png.read_request(file)
    assert request is not None and request["params"]["prompt"] == f"a cat{ADDED}"
    assert request["params"]["enhance_prompt"] is False  # or a key that prefers it would have it rewritten once more
    with Image.open(BytesIO(file)) as image, Image.open(BytesIO(drawn_file(world, same))) as expected:
        assert image.info["original_prompt"] == "a cat"
        assert image.info["parameters"].startswith(f"a cat{ADDED}\n")
        assert image.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Hang(), "timeout"),
        (Drip(), "timeout"),
        (error(500), "unavailable"),
        (HangUp(), "unavailable"),
        (HTML, "refused"),
        (Raw(body=b'{"choices": []}'), "refused"),
        (Say(text="\x00\x07"), "refused"),
    ],
)
def test_whatever_the_engine_does_the_job_gets_on(redis: Redis, tmp_path: Path, answer, status: str) -> None:
    worker, images = Parts(redis), ImageStore(tmp_path)
    loader = ImageLoader(InputStore(tmp_path), images, FetchLimits(max_bytes=1))
    job_id = submit(redis, DrawRequest(prompt="a cat", enhance_prompt=True))
    with EngineStub() as stub:
        stub.answer_with(answer)
        prepare = worker.prepare(loader, Rewriting(lambda: rewriter(stub.url)))
        prepare.start()
        job = prepare.ready.get(timeout=20)
        prepare.stop()
    record = worker.ledger.read(job_id)
    assert job is not None
    assert record is not None and record.rewrite is not None and record.rewrite == job.record.rewrite
    assert (record.rewrite.status, record.rewrite.revised_prompt) == (status, None) and record.rewrite.reason
    assert record.drawn_params == replace(record.params, enhance_prompt=False)


def test_without_an_engine_prompts_are_drawn_as_they_are(world) -> None:
    asked = world.submit("a cat", enhance_prompt=True)
    world.start_worker()
    (record,) = world.until_over(asked)
    assert record.status is JobStatus.SUCCEEDED
    assert record.rewrite is not None and record.rewrite.status == "unavailable"
    request = png.read_request(drawn_file(world, record))
    assert request is not None and request["params"]["prompt"] == "a cat"


def test_an_engine_that_dies_under_load_fails_no_job(world, engine: EngineStub) -> None:
    engine.answer_with(Say(text=ADDED, delay_s=0.2))
    jobs = [world.submit(f"cat number {number}", enhance_prompt=True, seed=number) for number in range(40)]
    world.start_worker()
    world.until(lambda: sum(world.record(job).rewrite is not None for job in jobs) >= 5)
    engine.stop()
    records = world.until_over(*jobs)
    assert [record.status for record in records] == [JobStatus.SUCCEEDED] * 40
    statuses = [record.rewrite.status for record in records if record.rewrite is not None]
    assert len(statuses) == 40 and {"applied", "unavailable"} <= set(statuses)


def test_jobs_that_need_no_rewriting_do_not_wait_for_it(world, engine: EngineStub) -> None:
    engine.answer_with(Hang())
    slow = world.submit("a cat", enhance_prompt=True)
    quick = world.submit("a dog")
    world.start_worker()
    (dog,) = world.until_over(quick)
    cat = world.until_over(slow)[0]
    assert dog.finished_at < cat.finished_at


def test_a_job_may_need_both_an_image_and_a_new_prompt(world, engine: EngineStub) -> None:
    red = BytesIO()
    Image.new("RGB", (64, 64), "red").save(red, "PNG")
    source = f"input:{InputStore(world.data / 'inputs').add(red.getvalue())}"
    asked = world.submit("a cat", kind="img2img", image=source, enhance_prompt=True)
    world.start_worker()
    (record,) = world.until_over(asked)
    assert record.status is JobStatus.SUCCEEDED and record.drawn_params.prompt == f"a cat{ADDED}"


def test_a_job_that_is_canceled_while_its_prompt_is_rewritten_does_not_wait_for_it(world, engine: EngineStub) -> None:
    engine.answer_with(Hang())
    world.set_environment(PHOTOGRAM_LLM_DEADLINE_S="120")  # so that the job ends before its prompt is given up
    asked = world.submit("a cat", enhance_prompt=True)
    world.start_worker()
    world.until(lambda: engine.requests)
    world.cancel(asked)
    (record,) = world.until_over(asked)
    assert record.status is JobStatus.CANCELED
    assert record.rewrite is None


def test_a_redelivered_job_keeps_its_prompt(world, engine: EngineStub) -> None:
    asked = world.submit("a cat", enhance_prompt=True, num_inference_steps=999, sampler="DDIM")
    first = world.start_worker()
    world.until_step(asked, 1)
    engine.answer_with(", at midnight")
    world.kill(first)
    world.start_worker()
    world.until(lambda: world.redis.hget(f"photogram:job:{asked}", "crashes") == b"1")
    world.until_step(asked, 1)
    record = world.record(asked)
    assert record.rewrite is not None and record.rewrite.revised_prompt == f"a cat{ADDED}"
    assert len(engine.requests) == 1

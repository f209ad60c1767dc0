"""Jobs in a real worker process: drawn together, canceled, failed, requeued, and redelivered after a crash."""

from __future__ import annotations

import signal
from io import BytesIO

from PIL import Image

from models.jobs.params import DrawParams, Mask, UpscaleRequest
from models.jobs.records import JobStatus
from models.media import png
from service.backbone.inputs import InputStore
from service.backbone.store import ImageStore

LONG = {"num_inference_steps": 999, "sampler": "DDIM"}


def rq_leftovers(world) -> list[bytes]:
    """Everything that RQ believes to be going on, or would keep for ever."""
    world.until(lambda: not world.redis.exists("rq:wip:photogram"))
    return [key for pattern in ("rq:execution*", "rq:job:*", "rq:queue:*intermediate*")
            for key in world.redis.scan_iter(pattern) if world.redis.ttl(key) == -1]  # fmt: skip


def test_draws_mixed_jobs_together_and_leaves_nothing_behind(working) -> None:
    jobs = [
        working.submit(f"job {number}", seed=number, num_inference_steps=4 + number, sampler=sampler, width=width)
        for number, (sampler, width) in enumerate(
            [("Euler", 64), ("Euler a", 64), ("DDIM", 32), ("DPM++ 2M", 64), ("DPM++ 2M Karras", 64), ("LCM", 64)] * 2
        )
    ]
    records = working.until_over(*jobs)
    assert [record.status for record in records] == [JobStatus.SUCCEEDED] * 12
    store = ImageStore(working.data / "images")
    for record in records:
        (image,) = record.images
        stored = store.find(image.image_id)
        assert stored is not None
        request = png.read_request(stored.read())
        assert request is not None and request["kind"] == "txt2img"
        assert DrawParams.from_payload(request["params"]) == record.params
        assert (image.width, image.height) == (record.params.width, 64)
        assert record.step == record.steps
        assert set(record.timings) == {"prepare_s", "denoise_s", "finish_s"}
    assert rq_leftovers(working) == []


def test_jobs_start_from_images_that_were_sent_drawn_or_cannot_be_had(working) -> None:
    red, mask = BytesIO(), BytesIO()
    Image.new("RGB", (64, 64), "red").save(red, "PNG")
    Image.linear_gradient("L").resize((64, 64)).save(mask, "PNG")
    inputs = InputStore(working.data / "inputs")
    image, hole = (f"input:{inputs.add(each.getvalue())}" for each in (red, mask))
    over = working.submit(kind="img2img", image=image, strength=0.5)
    inside = working.submit(kind="inpaint", image=image, mask=Mask(image=hole))
    private = working.submit(kind="img2img", image="http://127.0.0.1/cat.png")
    drawn, painted, refused = working.until_over(over, inside, private)
    assert [drawn.status, painted.status] == [JobStatus.SUCCEEDED] * 2, (drawn.error_message, painted.error_message)
    assert (refused.status, refused.error_code) == (JobStatus.FAILED, "input_unavailable")
    assert refused.error_message == "127.0.0.1 cannot be reached from this server"
    larger = working.submit_request(UpscaleRequest(image=f"image:{drawn.images[0].image_id}"))
    (enlarged,) = working.until_over(larger)
    assert enlarged.status is JobStatus.SUCCEEDED, enlarged.error_message
    (image,) = enlarged.images
    assert (image.width, image.height) == (128, 128)
    stored = ImageStore(working.data / "images").find(image.image_id)
    assert stored is not None and (png.read_request(stored.read()) or {})["kind"] == "upscale"
    assert rq_leftovers(working) == []


def test_cancel_takes_a_running_job_out_and_leaves_its_neighbour(working) -> None:
    canceled, kept = working.submit(**LONG), working.submit("neighbour", num_inference_steps=300, sampler="DDIM")
    working.until_step(canceled, 3)
    working.cancel(canceled)
    assert working.until_over(canceled)[0].status is JobStatus.CANCELED
    assert working.record(canceled).step < 900
    assert working.until_over(kept)[0].status is JobStatus.SUCCEEDED
    assert rq_leftovers(working) == []


def test_a_model_that_cannot_be_loaded_fails_its_job_and_not_the_worker(working) -> None:
    broken = working.submit(model="broken")
    (failed,) = working.until_over(broken)
    assert (failed.status, failed.error_code) == (JobStatus.FAILED, "model_unavailable")
    assert failed.error_message
    working.until(lambda: working.redis.hget("photogram:model-problems", "broken") is not None)
    assert working.until_over(working.submit())[0].status is JobStatus.SUCCEEDED
    assert working.are_alive


def test_files_that_a_worker_makes_are_private(working) -> None:
    job = working.submit()
    (record,) = working.until_over(job)
    image = ImageStore(working.data / "images").find(record.images[0].image_id)
    assert image is not None
    path = image.path
    assert [each.stat().st_mode & 0o777 for each in (path, path.parent, path.parent.parent)] == [0o600, 0o700, 0o700]


def test_jobs_of_a_killed_worker_run_again_and_succeed(world) -> None:
    jobs = [world.submit(f"job {number}", seed=number, **LONG) for number in range(4)]
    victim = world.start_worker()
    for job in jobs:
        world.until_step(job, 1)
    world.kill(victim)
    executions = {job: world.redis.hget(f"photogram:job:{job}", "execution_id") for job in jobs}
    world.start_worker()
    world.until(
        lambda: all(world.redis.hget(f"photogram:job:{job}", "execution_id") != executions[job] for job in jobs)
    )
    records = world.until_over(*jobs, timeout_s=120)
    assert [record.status for record in records] == [JobStatus.SUCCEEDED] * 4
    assert rq_leftovers(world) == []


def test_a_job_that_kills_three_workers_is_failed_and_its_neighbours_are_not(world) -> None:
    innocent = [world.submit(f"job {number}", num_inference_steps=60) for number in range(2)]
    poison = world.submit("poison")
    for number in range(3):
        killed = world.start_worker("-m", "tests.workers.poisoned_worker", f"victim-{number}")
        world.until(lambda killed=killed: killed.poll() is not None, 30)
        world.redis.delete("photogram:workers")
    world.start_worker("-m", "tests.workers.poisoned_worker", "survivor")
    (failed,) = world.until_over(poison)
    assert (failed.status, failed.error_code) == (JobStatus.FAILED, "worker_crashed")
    assert "3 times" in (failed.error_message or "")
    assert [record.status for record in world.until_over(*innocent)] == [JobStatus.SUCCEEDED] * 2


def test_a_worker_that_is_asked_to_stop_requeues_its_jobs_unharmed(world) -> None:
    job = world.submit(num_inference_steps=999, sampler="DDIM", width=512, height=512)
    worker = world.start_worker()
    world.until_step(job, 1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert world.record(job).status is JobStatus.QUEUED
    assert world.redis.lrange("rq:queue:photogram", 0, -1) == [job.encode()]
    assert world.redis.hget(f"photogram:job:{job}", "crashes") is None


def test_a_job_stranded_between_queue_and_worker_is_rescued(world) -> None:
    job = world.submit()
    world.redis.lmove("rq:queue:photogram", "rq:queue:photogram:intermediate")
    world.start_worker()
    assert world.until_over(job)[0].status is JobStatus.SUCCEEDED


def test_jobs_of_two_keys_end_although_a_worker_and_the_next_one_are_killed(world) -> None:
    jobs = [world.submit(f"job {number}", owner=f"key {number % 2}", num_inference_steps=40) for number in range(24)]
    for _ in range(2):
        victim = world.start_worker()
        world.until(lambda: sum(world.record(job).status is JobStatus.RUNNING for job in jobs) >= 2)
        world.kill(victim)
    world.start_worker()
    assert [record.status for record in world.until_over(*jobs, timeout_s=120)] == [JobStatus.SUCCEEDED] * 24
    assert rq_leftovers(world) == []
    assert world.redis.keys("photogram:turns*") + world.redis.keys("*waiting*") == []

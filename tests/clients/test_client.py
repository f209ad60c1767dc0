"""Each method of both clients against a server that behaves."""

import base64
import hashlib
from dataclasses import asdict

import httpx2
import pytest
from fastapi import Response
from fastapi.responses import RedirectResponse
from photogram import AsyncPhotogram, Conflict, JobCanceled, JobFailed, Photogram, UnexpectedResponse, WaitTimeout

from models.jobs.safety import SafetyResult

from .conftest import Awaited, Either
from .wire_server import DEFAULTS, KEY, PNG, WireServer


async def test_generate_brings_an_image(client: Either, server: WireServer, tmp_path):
    image = await client.generate("a cat", num_inference_steps=3, seed=None)

    assert (image.data, image.width, image.height, image.seed) == (PNG, 64, 48, 77)
    assert image.job.status == "succeeded"
    assert (await client.of(image).save(tmp_path / "cat.png")).read_bytes() == PNG
    [record] = server.records.values()
    assert record.body == {"kind": "txt2img", "params": {"prompt": "a cat", "num_inference_steps": 3}}


async def test_images_make_the_kind_and_travel_as_base64(client: Either, server: WireServer, tmp_path):
    file = tmp_path / "cat.png"
    file.write_bytes(PNG)
    sent = base64.b64encode(PNG).decode()
    control = {"model": "canny", "image": PNG, "weight": None}
    await client.generate("oil", image=file, strength=0.5, controls=(control,))
    await client.generate("a hat", image="https://example.org/cat.png", mask=PNG)
    await client.generate("a hat", image=PNG, mask={"image": file, "blur_px": 2, "fill": None})
    await client.submit("a hat", kind="img2img", image="image:1")

    bodies = [record.body for record in server.records.values()]
    assert bodies == [
        {"kind": "img2img",
         "params": {"prompt": "oil", "image": sent, "strength": 0.5, "controls": [{"model": "canny", "image": sent}]}},
        {"kind": "inpaint",
         "params": {"prompt": "a hat", "image": "https://example.org/cat.png", "mask": {"image": sent}}},
        {"kind": "inpaint", "params": {"prompt": "a hat", "image": sent, "mask": {"image": sent, "blur_px": 2}}},
        {"kind": "img2img", "params": {"prompt": "a hat", "image": "image:1"}},
    ]  # fmt: skip


async def test_upscale_brings_a_larger_image(client: Either, server: WireServer):
    image = await client.upscale(PNG, scale=4)

    assert image.data == PNG
    [record] = server.records.values()
    assert record.body == {"kind": "upscale", "params": {"image": base64.b64encode(PNG).decode(), "scale": 4}}


async def test_restore_faces_runs_a_job_of_its_own_kind(client: Either, server: WireServer):
    image = await client.face_restore(PNG, priority=1)
    [record] = server.records.values()
    assert image.data == PNG
    assert record.body == {"kind": "face_restore", "params": {"image": base64.b64encode(PNG).decode(), "priority": 1}}


async def test_a_file_that_is_not_there_is_the_callers_error(client: Either, server: WireServer, tmp_path):
    with pytest.raises(FileNotFoundError):
        await client.submit("oil", image=tmp_path / "none.png")
    assert not server.records


async def test_generate_tells_what_happens(client: Either):
    seen = []
    await client.generate("a cat", on_event=seen.append)

    names = [type(event).__name__ for event in seen]
    assert names == ["StatusChanged", "StatusChanged", *["Progressed"] * 4, "Previewed", "StatusChanged"]


async def test_a_job_step_by_step(client: Either):
    job = await client.submit("a cat", negative_prompt="dogs")
    assert job.kind == "txt2img"
    done = await client.jobs.wait(job)

    assert done.status == "succeeded" and done.is_finished
    assert done.params == {**DEFAULTS, "prompt": "a cat", "negative_prompt": "dogs"}
    assert done.progress.step == done.progress.steps == 4
    assert done.result.timings.denoise_s == 1.5
    assert done.created_at.utcoffset().total_seconds() == 0 and done.queued_s >= 0
    assert await client.jobs.get(job.id) == done
    assert (await client.download(job)).data == (await client.download(job.id)).data == PNG


async def test_an_own_id_makes_submitting_repeatable(client: Either, server: WireServer):
    first = await client.submit("a cat", job_id="my-cat_1")
    again = await client.submit("a cat", job_id="my-cat_1")

    assert first.id == again.id == "my-cat_1" and len(server.records) == 1
    with pytest.raises(Conflict, match="another body"):
        await client.submit("a dog", job_id="my-cat_1")


async def test_cancel(client: Either, server: WireServer):
    server.outcome = "never"
    job = await client.submit("a cat")

    assert (await client.jobs.cancel(job)).status == "canceled"
    assert (await client.jobs.cancel(job.id)).status == "canceled"
    with pytest.raises(JobCanceled, match=f"job {job.id} was canceled"):
        await client.download(job)


async def test_a_failed_job(client: Either, server: WireServer):
    server.outcome = "failed"
    with pytest.raises(JobFailed, match=r"too large for this device \(out_of_memory\)") as caught:
        await client.generate("a cat")

    assert caught.value.job.error.code == "out_of_memory"
    assert not server.calls("POST")
    assert (await client.jobs.wait(caught.value.job)).status == "failed"


async def test_a_job_tells_what_the_safety_policy_found(client: Either, server: WireServer):
    job = await client.submit("a cat")
    assert (await client.jobs.wait(job)).safety is None

    scored = SafetyResult(policy="tag", classifier="nsfw", scores=(0.25, 0.9), flagged=(False, True))
    unscored = SafetyResult(policy="blur", classifier="nsfw", problem="its file is missing")
    for found in (scored, unscored):
        server.records[job.id].job["safety"] = {**found.to_payload(), "of_a_later_version": 1}
        assert asdict((await client.jobs.get(job.id)).safety) == asdict(found)


async def test_wait_ends_in_time(client: Either, server: WireServer):
    server.outcome = "never"
    job = await client.submit("a cat")

    with pytest.raises(WaitTimeout, match="is still running") as caught:
        await client.jobs.wait(job, timeout_s=0.3)
    assert caught.value.job.id == job.id


async def test_wait_is_no_hot_loop_where_the_server_does_not_wait(client: Either, server: WireServer):
    server.outcome = "never"
    server.misbehave("never_waits", times=1000)
    job = await client.submit("a cat")
    with pytest.raises(WaitTimeout):
        await client.jobs.wait(job, timeout_s=1.0)

    assert len(server.calls("GET")) <= 6


async def test_download_wants_a_finished_job_and_an_image_it_has(client: Either, server: WireServer):
    server.outcome = "never"
    unfinished = await client.submit("a cat")
    with pytest.raises(ValueError, match="wait for it"):
        await client.download(unfinished)

    server.outcome = "succeeded"
    done = await client.jobs.wait(await client.submit("a cat"))
    with pytest.raises(ValueError, match="has 1 images, so there is no image 1"):
        await client.download(done, index=1)


async def test_models_and_samplers(client: Either):
    house, bare = await client.models()

    assert (house.name, house.family, house.is_default, house.aliases) == ("house", "sd15", True, ("default",))
    assert house.limits == {"width": [64, 512]} and house.licence == "Apache-2.0"
    assert bare.is_available and not bare.is_default and bare.problem is None
    assert [sampler.name for sampler in await client.samplers()] == ["euler", "ddim", "odd"]


async def test_the_other_listings(client: Either):
    upscaler, broken = await client.upscalers()
    lora, style = (await client.loras())[0], (await client.styles())[0]

    assert (upscaler.name, upscaler.problem, broken.problem) == ("first", None, "its file is missing")
    assert (lora.name, lora.family, lora.aliases, lora.problem) == ("first", "sd15", ("one",), None)
    assert (style.name, style.prefix, style.suffix, style.negative) == ("first", "a photo of ", ", film", "blur")


async def test_an_upload_names_an_image_for_jobs(client: Either, server: WireServer, tmp_path):
    file = tmp_path / "cat.png"
    file.write_bytes(PNG)
    uploaded = await client.upload(file)

    assert uploaded == await client.upload(PNG)
    assert uploaded.source == "input:" + hashlib.sha256(PNG).hexdigest() and uploaded.width == 64
    headers = server.calls("POST", "/v1/inputs")[0]
    assert headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("address", ["/images/{id}.png", "{base}/elsewhere/{id}.png"])
async def test_the_key_goes_to_the_api_but_not_to_the_images(kind: str, server: WireServer, address: str):
    server.needs_key, server.image_url = True, address
    client = Either(kind, api_key=KEY)
    assert (await client.generate("a cat")).data == PNG
    await client.close()

    assert all("authorization" not in headers for headers in server.calls("GET", "/images/"))
    assert server.calls("PUT")[0]["authorization"] == f"Bearer {KEY}"
    assert server.calls("PUT")[0]["user-agent"].startswith("photogram-python/")


async def test_headers_of_the_caller_go_to_the_server_alone(kind: str, server: WireServer):
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    answers = [RedirectResponse(f"{elsewhere}/images/stored.png"), Response(PNG, media_type="image/png")]
    server.images_answer = lambda: answers.pop(0)
    client = Either(kind, headers={"X-Pass": "secret", "user-agent": "mine/1"})
    assert (await client.generate("a cat", image=PNG)).data == PNG
    await Awaited(kind, client.client.with_options(headers={"x-pass": "other"})).models()
    await client.upload(PNG)
    await client.close()

    first, stored = server.calls("GET", "/images/")
    assert "x-pass" not in stored and first["x-pass"] == "secret" and first["user-agent"] == "mine/1"
    assert server.calls("GET", "/v1/models")[0]["x-pass"] == "other"
    assert server.calls("POST", "/v1/inputs")[0]["x-pass"] == "secret"


async def test_an_image_that_is_redirected_for_ever(client: Either, server: WireServer):
    server.images_answer = lambda: RedirectResponse("/images/again.png")
    with pytest.raises(UnexpectedResponse, match="redirects too often"):
        await client.generate("a cat")
    assert len(server.calls("GET", "/images/")) == 6


async def test_an_http_client_of_the_callers_own():
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert str(request.url) == "https://host.test/under/v1/samplers"
        return httpx2.Response(200, json={"samplers": [{"name": "only"}]})

    transport = httpx2.MockTransport(answer)
    with httpx2.Client(transport=transport) as http, Photogram("https://host.test/under/", http_client=http) as client:
        assert client.samplers()[0].name == "only"
    async with httpx2.AsyncClient(transport=transport) as http:
        assert (await AsyncPhotogram("https://host.test/under", http_client=http).samplers())[0].name == "only"


@pytest.mark.parametrize("bad", ["", "..", "a/b", "x" * 65, "ä"])
async def test_an_id_that_is_none_is_refused_here(client: Either, server: WireServer, bad: str):
    with pytest.raises(ValueError, match="a job id is"):
        await client.jobs.get(bad)
    assert server.requests == []

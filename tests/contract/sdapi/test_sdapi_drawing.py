"""A1111's calls over plain HTTP: the same image again, progress, interrupting, other formats, other keys' headers."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from models.media.infotext import parse_parameters
from models.media.png import read_request, read_texts
from tests.contract.sdapi.conftest import KEY

SMALL = {"prompt": "a blue car", "steps": 3, "width": 64, "height": 64}
SLOW = {"prompt": "a cat", "steps": 999, "override_settings": {"sd_model_checkpoint": "tiny"}, "sampler_name": "DDIM"}


def in_base64(image: Image.Image) -> str:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def post(http: httpx.Client, name: str, **body: Any) -> dict[str, Any]:
    answer = http.post(f"/sdapi/v1/{name}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def files(answer: dict[str, Any]) -> list[bytes]:
    return [base64.b64decode(image, validate=True) for image in answer["images"]]


def pixels(data: bytes) -> np.ndarray:
    found = np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)
    assert found.std() > 2
    return found


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sampler_name": "DPM++ 2M"},
        {"sampler_name": "DPM++ 2M", "scheduler": "uniform", "cfg_scale": 3.123456789},
        {"sampler_name": "k_dpmpp_2m_ka", "negative_prompt": "rain, fog: thick\nand grey", "styles": ["anime"]},
        {"prompt": 'a "red" car, (big:1.2)\nBREAK in 東京', "scheduler": "Exponential", "sampler_name": "Euler"},
        {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 4, "denoising_strength": 0.55},
        {"override_settings": {"sd_model_checkpoint": "tiny", "CLIP_stop_at_last_layers": 2}},
        {"prompt": "a car <lora:more_details:0.123456789>", "override_settings": {"sd_model_checkpoint": "tiny"}},
    ],
)
def test_a_images_text_gives_the_same_image(http, fields):
    (first,) = files(post(http, "txt2img", **{**SMALL, "seed": -1, **fields}))
    said = post(http, "png-info", image=base64.b64encode(first).decode())
    (second,) = files(post(http, "txt2img", infotext=said["info"]))
    assert np.abs(pixels(first) - pixels(second)).max() <= 1
    assert read_request(first) == read_request(second)
    assert said["parameters"] == parse_parameters(read_texts(first)[0])


def test_a_clients_own_reading_gives_the_same_image(http):
    (first,) = files(post(http, "txt2img", **SMALL, sampler_name="DPM++ 2M", negative_prompt="rain"))
    said = post(http, "png-info", image=base64.b64encode(first).decode())["parameters"]
    again = {
        "prompt": said["Prompt"], "negative_prompt": said["Negative prompt"], "steps": said["Steps"],
        "sampler_name": said["Sampler"], "scheduler": said["Schedule type"], "cfg_scale": said["CFG scale"],
        "seed": said["Seed"], "width": said["Size-1"], "height": said["Size-2"],
        "override_settings": {"sd_model_checkpoint": said["Model"]},
    }  # fmt: skip
    assert np.array_equal(pixels(first), pixels(files(post(http, "txt2img", **again))[0]))


def test_an_inpainted_images_text_gives_the_same_image(http, photo, mask):
    given = {"init_images": [in_base64(photo)], "mask": in_base64(mask)}
    settings = {"mask_blur": 2, "inpainting_fill": 2, "inpaint_full_res": True, "inpaint_full_res_padding": 16}
    first = post(http, "img2img", **SMALL, **given, **settings, denoising_strength=0.8, inpainting_mask_invert=1)
    second = post(http, "img2img", **given, infotext=parse_and_keep(files(first)[0]))
    assert np.array_equal(pixels(files(first)[0]), pixels(files(second)[0]))


def parse_and_keep(data: bytes) -> str:
    text = read_texts(data)[0]
    assert parse_parameters(text)["Mask mode"] == "Inpaint not masked"
    return text


def test_defaults_are_the_models_own(http):
    answer = post(http, "txt2img", prompt="a tree", seed=None, negative_prompt=None, sampler_name=None)
    assert pixels(files(answer)[0]).shape == (64, 64, 3)
    shown = {name: answer["parameters"][name] for name in ("steps", "cfg_scale", "width", "height", "sampler_name")}
    assert shown == {"steps": 2, "cfg_scale": 3, "width": 64, "height": 64, "sampler_name": "DPM++ 2M"}
    assert post(http, "txt2img", **SMALL, send_images=False, save_images=True)["images"] == []


@pytest.mark.parametrize(("name", "expected"), [("jpg", "JPEG"), ("webp", "WEBP")])
def test_images_come_in_other_formats(http, name, expected):
    settings = {"samples_format": name, "jpeg_quality": 90}
    answer = post(http, "txt2img", **SMALL, override_settings=settings)
    (data,) = files(answer)
    assert Image.open(BytesIO(data)).format == expected
    said = post(http, "png-info", image="data:image/png;base64," + "\n".join(answer["images"]))
    assert said["parameters"]["Prompt"] == "a blue car" and said["info"] in answer["info"].replace("\\n", "\n")


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}, {"X-Prodia-Key": KEY}])
def test_the_key_may_come_in_other_headers(service_url, headers):
    assert httpx.get(f"{service_url}/sdapi/v1/sd-models", headers=headers).status_code == 200


def test_the_calls_of_sillytavern(http):
    """In its order, with its fields: ``src/endpoints/stable-diffusion.js`` and the extension's ``index.js``."""
    for path in ("options", "upscalers", "latent-upscale-modes", "sd-vae", "samplers", "schedulers", "sd-models"):
        assert http.get(f"/sdapi/v1/{path}").status_code == 200
    model = http.get("/sdapi/v1/sd-models").json()[1]["title"]
    assert http.post("/sdapi/v1/options", json={"sd_model_checkpoint": model}).status_code == 200
    progress = http.get("/sdapi/v1/progress").json()
    assert progress["progress"] == 0 and progress["state"]["job_count"] == 0
    answer = post(
        http, "txt2img", **SMALL, url="http://x", auth="me:secret", negative_prompt="rain", sampler_name="Euler a",
        scheduler="Automatic", cfg_scale=7, restore_faces=False, enable_hr=False, hr_upscaler="Latent", hr_scale=2,
        denoising_strength=0.7, hr_second_pass_steps=0, seed=None, save_images=True, send_images=True,
        override_settings={"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"}, clip_skip=1,
        override_settings_restore_afterwards=True, do_not_save_grid=False, do_not_save_samples=False,
    )  # fmt: skip
    pixels(files(answer)[0])
    assert f'"sd_model_name": "{model.partition(".")[0]}"' in answer["info"]


def test_the_calls_of_open_webui(http):
    """In its order, with its fields: ``backend/open_webui/routers/images.py``."""
    options = http.get("/sdapi/v1/options").json()
    titles = [model["title"] for model in http.get("/sdapi/v1/sd-models").json()]
    options["sd_model_checkpoint"] = next(title for title in titles if title.startswith("paint"))
    assert http.post("/sdapi/v1/options", json=options).status_code == 200
    answer = post(http, "txt2img", prompt="a boat", batch_size=2, width=64, height=64, steps=2, cfg_scale=4.0)
    assert len([pixels(data) for data in files(answer)]) == 2
    assert {"Model: paint" in text for text in [read_texts(data)[0] for data in files(answer)]} == {True}


class Slow:
    """A long call under way in a thread of its own."""

    def __init__(self, http: httpx.Client, **fields: Any) -> None:
        self.answer: dict[str, Any] = {}
        self._thread = threading.Thread(target=lambda: self.answer.update(post(http, "txt2img", **SLOW, **fields)))
        self._thread.start()

    def end(self) -> dict[str, Any]:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.answer


def until(http: httpx.Client, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The progress, once it is so."""
    for _ in range(300):
        shown = http.get("/sdapi/v1/progress").json()
        if is_so(shown):
            return shown
        time.sleep(0.05)
    raise AssertionError(shown)


def test_a_call_is_watched_and_interrupted(http):
    slow = Slow(http, batch_size=2, force_task_id="task(mine)")
    shown = until(http, lambda shown: shown["current_image"])
    state = shown["state"]
    assert 0 < shown["progress"] < 1 and shown["eta_relative"] > 0 and shown["current_task"] == "task(mine)"
    assert (state["job"], state["job_count"], state["job_no"]) == ("scripts_txt2img", 2, 0)
    assert 0 < state["sampling_step"] < state["sampling_steps"] == 999
    Image.open(BytesIO(base64.b64decode(shown["current_image"], validate=True))).load()
    assert http.get("/sdapi/v1/progress", params={"skip_current_image": True}).json()["current_image"] is None
    task = http.post("/internal/progress", json={"id_task": "task(mine)", "id_live_preview": -1}).json()
    assert task["active"] and not task["completed"] and task["live_preview"].startswith("data:image/png;base64,")
    assert http.post("/sdapi/v1/interrupt").json() == {}
    unfinished = files(slow.end())  # the second image may have no preview yet
    assert unfinished and {pixels(each).shape for each in unfinished} == {(64, 64, 3)}
    until(http, lambda shown: shown["state"]["job_count"] == 0)
    task = http.post("/internal/progress", json={"id_task": "task(mine)"}).json()
    assert task["completed"] and not task["active"]


def test_a_current_image_is_skipped(http):
    slow = Slow(http)
    until(http, lambda shown: shown["current_image"])
    assert http.post("/sdapi/v1/skip").json() is None
    assert len(slow.end()["images"]) == 1


def test_a_client_that_goes_away_frees_the_worker(http, service_url):
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{service_url}/sdapi/v1/txt2img", json={**SLOW, "batch_size": 8}, auth=("me", KEY), timeout=1)
    until(http, lambda shown: shown["state"]["job_count"] == 0)
    with httpx.Client(base_url=service_url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as native:
        for job in native.get("/v1/jobs", params={"limit": 8}).json()["jobs"]:
            assert native.get(f"/v1/jobs/{job['id']}", params={"wait": 20}).json()["status"] == "canceled"
    post(http, "txt2img", **SMALL, override_settings=SLOW["override_settings"])

"""Errors as A1111's clients know them: their statuses, their two shapes, and no surprise for any input."""

from __future__ import annotations

import base64
import json
import os

import httpx
import pytest

from tests.service.api.sdapi.sdapi_calls import image

IMAGE = image()
FOUR = {"error", "detail", "body", "errors"}
GETS = (
    "sdapi/v1/options", "sdapi/v1/sd-models", "sdapi/v1/sd-vae", "sdapi/v1/sd-modules", "sdapi/v1/samplers",
    "sdapi/v1/schedulers",
    "sdapi/v1/latent-upscale-modes", "sdapi/v1/upscalers", "sdapi/v1/loras", "sdapi/v1/embeddings",
    "sdapi/v1/hypernetworks", "sdapi/v1/face-restorers", "sdapi/v1/realesrgan-models", "sdapi/v1/prompt-styles",
    "sdapi/v1/cmd-flags", "sdapi/v1/memory", "sdapi/v1/scripts", "sdapi/v1/script-info", "sdapi/v1/extensions",
    "sdapi/v1/progress", "controlnet/version", "controlnet/model_list", "controlnet/module_list", "controlnet/settings",
)  # fmt: skip
POSTS = (
    "txt2img", "img2img", "extra-single-image", "extra-batch-images", "png-info", "interrogate", "interrupt", "skip",
    "options", "refresh-checkpoints", "refresh-vae", "refresh-embeddings", "refresh-loras", "unload-checkpoint",
    "reload-checkpoint",
)  # fmt: skip


def test_reading_works_and_needs_a_key(client, anonymous):
    for path in GETS:
        assert client.get(f"/{path}").status_code == 200
        refused(anonymous.get(f"/{path}"))
    assert anonymous.get("/internal/ping").json() == {}


def test_writing_needs_a_key(anonymous):
    for path in POSTS:
        refused(anonymous.post(f"/sdapi/v1/{path}", json={}))
    refused(anonymous.post("/controlnet/detect", json={}))
    refused(anonymous.post("/internal/progress", json={}))


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Basic"
    assert set(answer.json()) == FOUR and answer.json()["detail"] == "Incorrect username or password"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def test_the_password_is_the_key(anonymous, key):
    def status(header: str) -> int:
        return anonymous.get("/sdapi/v1/options", headers={"Authorization": header}).status_code

    for user in ("", "me", "użytkownik"):
        assert status(f"Basic {encoded(f'{user}:{key}')}") == status(f"basic {encoded(f'{user}:{key}')}") == 200
    for wrong in (encoded(f"{key}:"), encoded(key), encoded(f"me:{key}x"), "%%%", "=", "\x80", encoded("\udcff:x")):
        assert status(f"Basic {wrong}".encode("latin-1")) == 401


@pytest.mark.parametrize("path", ["refresh-checkpoints", "refresh-vae", "refresh-embeddings", "refresh-loras", "skip"])
def test_what_needs_nothing_done_answers_null(client, path):
    assert (client.post(f"/sdapi/v1/{path}").status_code, client.post(f"/sdapi/v1/{path}").json()) == (200, None)


def test_loading_is_the_workers_matter(client):
    assert client.post("/sdapi/v1/unload-checkpoint").json() == client.post("/sdapi/v1/reload-checkpoint").json() == {}


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("txt2img", {"prompt": "\0"}, ["prompt"]),
        ("txt2img", {"prompt": "x", "steps": "many"}, ["steps"]),
        ("txt2img", {"prompt": "x", "cfg_scale": "NaN"}, ["cfg_scale"]),
        ("txt2img", {"prompt": "x", "cfg_scale": 1e9}, ["cfg_scale"]),
        ("txt2img", {"prompt": "x", "width": 7}, ["width"]),
        ("txt2img", {"prompt": "x", "height": -64}, ["height"]),
        ("txt2img", {"prompt": "x", "batch_size": 0}, ["batch_size"]),
        ("txt2img", {"prompt": "x", "batch_size": 64, "n_iter": 2}, ["n_iter"]),
        ("txt2img", {"prompt": "x", "seed": 10**400}, ["seed"]),
        ("txt2img", {"prompt": "x", "styles": ["nobody's"]}, ["styles", 0]),
        ("txt2img", {"prompt": "x <lora:y:1>"}, ["prompt"]),
        ("txt2img", {"prompt": "[a:b:0.5]"}, ["prompt"]),
        ("txt2img", {"prompt": "x", "eta": 0.5, "sampler_name": "Euler a"}, ["eta"]),
        ("txt2img", {"prompt": "x", "s_churn": 1, "sampler_name": "Heun"}, ["s_churn"]),
        ("txt2img", {"prompt": "x", "s_noise": 1.1, "sampler_name": "DPM++ SDE"}, ["s_noise"]),
        ("txt2img", {"prompt": "x", "seed_resize_from_w": 64}, ["seed_resize_from_w"]),
        ("txt2img", {"prompt": "x", "refiner_checkpoint": "y"}, ["refiner_checkpoint"]),
        ("txt2img", {"prompt": "x", "enable_hr": True, "hr_scale": 9}, ["hr_scale"]),
        ("txt2img", {"prompt": "x", "enable_hr": True, "hr_upscaler": "LDSR"}, ["hr_upscaler"]),
        ("txt2img", {"prompt": "x", "enable_hr": True, "hr_prompt": "y"}, ["hr_prompt"]),
        ("txt2img", {"prompt": "x", "enable_hr": True, "hr_sampler_name": "DDIM"}, ["hr_sampler_name"]),
        ("txt2img", {"prompt": "x", "enable_hr": True, "firstphase_width": 64}, ["firstphase_width"]),
        ("txt2img", {"prompt": "x", "enable_hr": True, "hr_resize_x": 256, "hr_resize_y": 192}, ["hr_resize_x"]),
        ("txt2img", {"prompt": "x", "force_task_id": "a" * 1001}, ["force_task_id"]),
        ("txt2img", {"prompt": "x", "alwayson_scripts": {"reactor": {"args": [IMAGE, True]}}},
         ["alwayson_scripts", "reactor"]),
        ("txt2img", {"prompt": "x", "alwayson_scripts": {"controlnet": {"args": {"model": "x"}}}},
         ["alwayson_scripts", "controlnet", "args"]),
        ("txt2img", {"prompt": "x", "alwayson_scripts": {"controlnet": {"args": [5]}}},
         ["alwayson_scripts", "controlnet", "args", 0]),
        ("img2img", {"prompt": "x", "init_images": ["nothing"]}, ["init_images", 0]),
        ("img2img", {"prompt": "x", "init_images": [IMAGE, IMAGE]}, ["init_images"]),
        ("img2img", {"prompt": "x", "init_images": [IMAGE], "mask": "nothing"}, ["mask"]),
        ("img2img", {"prompt": "x", "init_images": [IMAGE], "mask": IMAGE, "mask_blur": 999}, ["mask_blur"]),
        ("img2img", {"prompt": "x", "init_images": [IMAGE], "mask": IMAGE, "mask_blur_x": 1}, ["mask_blur_x"]),
        ("img2img", {"prompt": "x", "init_images": [IMAGE], "inpainting_fill": 4}, ["inpainting_fill"]),
        ("img2img", {"prompt": "x", "init_images": [IMAGE], "resize_mode": 4}, ["resize_mode"]),
        ("img2img", {"prompt": "x", "init_images": [IMAGE], "resize_mode": -1}, ["resize_mode"]),
        ("img2img", {"prompt": "x", "init_images": [IMAGE], "denoising_strength": -0.1}, ["denoising_strength"]),
        ("img2img", {"prompt": "x", "init_images": [IMAGE], "initial_noise_multiplier": 2},
         ["initial_noise_multiplier"]),
        ("extra-single-image", {}, ["image"]),
        ("extra-single-image", {"image": "no", "upscaler_1": "Lanczos"}, ["image"]),
        ("extra-single-image", {"image": IMAGE, "upscaler_1": "Lanczos", "upscaling_resize": 9},
         ["upscaling_resize"]),
        ("extra-single-image", {"image": IMAGE, "upscaler_1": "nobody's"}, ["upscaler_1"]),
        ("extra-single-image", {"image": IMAGE, "upscaler_1": "Lanczos", "resize_mode": 1}, ["upscaling_resize_w"]),
        ("extra-single-image", {"image": "https://example.org/a.png", "upscaler_1": "Lanczos", "resize_mode": 1},
         ["image"]),
        ("extra-single-image", {"image": IMAGE, "codeformer_visibility": 1, "gfpgan_visibility": 1},
         ["codeformer_visibility"]),
        ("extra-single-image", {"image": IMAGE, "gfpgan_visibility": 0.5}, ["gfpgan_visibility"]),
        ("extra-single-image", {"image": IMAGE, "upscaler_1": "Lanczos", "upscaler_2": "Nearest",
                                "extras_upscaler_2_visibility": 0.5}, ["extras_upscaler_2_visibility"]),
        ("extra-batch-images", {"imageList": [], "upscaler_1": "Lanczos"}, ["imageList"]),
        ("png-info", {"image": "https://example.org/a.png"}, ["image"]),
        ("png-info", {"image": base64.b64encode(os.urandom(99)).decode()}, ["image"]),
        ("png-info", {"image": "input:" + "0" * 64}, ["image"]),
        ("interrogate", {"image": IMAGE}, ["model"]),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_done_say_where_and_why(client, queued, path, body, place):
    answer = client.post(f"/sdapi/v1/{path}", json=body)
    assert answer.status_code == 422, answer.text
    problem = answer.json()["detail"][0]
    assert problem["loc"] == ["body", *place] and problem["msg"] and problem["type"] == "value_error"
    assert queued() == 0


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("txt2img", {"prompt": "x", "sampler_name": "\ud800"}, 400, "Sampler not found"),
        ("txt2img", {"prompt": "x", "sampler_name": "Huen"}, 400, "Sampler not found (did you mean 'Heun'?)"),
        ("txt2img", {"prompt": "x", "sampler_name": "Euler", "scheduler": "x"}, 400, "Scheduler not found: 'x'"),
        ("img2img", {"prompt": "x"}, 404, "Init image not found"),
        ("nothing", {}, 404, "there is no such route"),
        ("samplers", {}, 405, "this route has no such method"),
    ],
)  # fmt: skip
def test_other_errors_have_four_texts(client, path, body, status, detail):
    answer = client.post(f"/sdapi/v1/{path}", content=json.dumps(body))
    assert answer.status_code == status and set(answer.json()) == FOUR
    assert answer.json()["detail"].startswith(detail)


def test_a_body_that_is_too_large(client):
    answer = client.post("/sdapi/v1/png-info", json={"image": "x" * 200_000})
    assert answer.status_code == 413 and set(answer.json()) == FOUR


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"prompt": 1}', b'"x"', b"\xff", b'{"a":1,"a":2}'])
@pytest.mark.parametrize("path", ["sdapi/v1/txt2img", "sdapi/v1/options", "sdapi/v1/png-info", "controlnet/detect"])
def test_bodies_of_any_shape_are_refused(client, path, body):
    answer = client.post(f"/{path}", content=body)
    assert answer.status_code == 422 and isinstance(answer.json()["detail"], list)


HOSTILE = (None, True, -1, 0, 1e308, "1e999", 10**30, "", "\ud800", "\0", "9" * 5000, [], [[]], [None], {}, {"a": {}})


@pytest.mark.parametrize("path", ["txt2img", "img2img", "extra-single-image", "extra-batch-images", "png-info"])
def test_no_value_of_any_field_is_a_surprise(client, path, redis):
    document = client.get("/openapi.json").json()
    body = document["paths"][f"/sdapi/v1/{path}"]["post"]["requestBody"]["content"]["application/json"]
    schema = document["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
    # Nothing of this may be queued: the call would wait for its image.
    always = {"steps": 0, "image": "!", "imageList": [{"data": "!"}], "init_images": ["!"], "upscaler_1": "Lanczos"}
    for name in schema["properties"]:
        for value in HOSTILE:
            sent = json.dumps({"prompt": "\0", **always, name: value} if name in always else {**always, name: value})
            answer = client.post(f"/sdapi/v1/{path}", content=sent)
            assert answer.status_code in (400, 404, 422), (name, value, answer.text)


@pytest.mark.parametrize("value", HOSTILE)
def test_no_option_is_a_surprise(client, value):
    for name in (
        "sd_model_checkpoint",
        "CLIP_stop_at_last_layers",
        "samples_format",
        "jpeg_quality",
        "sd_vae",
        "9" * 5000,
    ):
        answer = client.post("/sdapi/v1/options", content=json.dumps({name: value}))
        assert answer.status_code in (200, 422) and client.get("/sdapi/v1/options").status_code == 200

"""A request that would cost too much is refused in the shape of its dialect, with the number and the limit."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from redis import Redis

from models.jobs.cost import CPU_LIMITS
from service.api.app import create_app
from service.backbone.keyspace import workers_key
from service.backbone.settings import Settings
from tests.serving import serving

MAX_OUTPUT_PX, MAX_STEP_PX = 300 * 300, 512 * 512 * 10
NUMBER = "at most {} are allowed"


def png(size: tuple[int, int] = (100, 100), mode: str = "RGB") -> bytes:
    buffer = BytesIO()
    Image.new(mode, size).save(buffer, "PNG")
    return buffer.getvalue()


IMAGE = b64encode(png()).decode()


@pytest.fixture(scope="module")
def limited_url(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data: Path = tmp_path_factory.mktemp("limited")
    settings = Settings(redis_url=valkey_url, data=data, max_output_px=MAX_OUTPUT_PX, max_step_px=MAX_STEP_PX)
    with serving(create_app(settings)) as url:
        yield url


@pytest.fixture
def limited(limited_url: str, key: str, redis: Redis) -> Iterator[httpx.Client]:
    redis.zadd(workers_key(), {"worker": time.time()})
    with httpx.Client(base_url=limited_url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as client:
        yield client


def v2(config: dict[str, Any], name: str, *inputs: bytes) -> dict[str, Any]:
    job = json.dumps({"type": name, "config": config}).encode()
    files = [("input", ("a.png", data, "image/png")) for data in inputs]
    return {"files": [*files, ("job", ("job.json", job, "application/json"))]}


DRAWN = {"prompt": "x", "width": 512, "height": 512}
HIRES = {"prompt": "x", "width": 256, "height": 256, "enable_hr": True, "hr_scale": 2, "denoising_strength": 0.5}
TOO_LARGE: dict[str, tuple[str, dict[str, Any]]] = {
    "native": ("/v1/jobs", {"json": {"kind": "upscale", "params": {"image": IMAGE, "scale": 4}}}),
    "native, a second pass": (
        "/v1/jobs",
        {"json": {"kind": "txt2img", "params": {"prompt": "x", "width": 256, "height": 256, "second_pass": {}}}},
    ),
    "native, only the masked area": (
        "/v1/jobs",
        {
            "json": {
                "kind": "inpaint",
                "params": {
                    "prompt": "x",
                    "image": b64encode(png((400, 300))).decode(),
                    "mask": {"image": IMAGE, "only_masked": True},
                },
            }
        },
    ),
    "Prodia v1": ("/v1/upscale", {"json": {"imageData": IMAGE, "resize": 4, "model": "Lanczos"}}),
    "Prodia v1, upscale": ("/v1/sd/generate", {"json": {"prompt": "x", "width": 256, "height": 256, "upscale": True}}),
    "Prodia v2": ("/v2/job", v2({"scale": 4, "upscaler": "Lanczos"}, "inference.upscale.v1", png())),
    "Prodia v2, async": ("/v2/job/async", v2({"scale": 4, "upscaler": "Lanczos"}, "inference.upscale.v1", png())),
    "A1111 extras": (
        "/sdapi/v1/extra-single-image",
        {"json": {"image": IMAGE, "upscaler_1": "Lanczos", "upscaling_resize": 4}},
    ),
    "A1111 extras of several": (
        "/sdapi/v1/extra-batch-images",
        {"json": {"imageList": [{"data": IMAGE, "name": "a"}], "upscaler_1": "Lanczos", "upscaling_resize": 4}},
    ),
    "A1111 hires": ("/sdapi/v1/txt2img", {"json": HIRES}),
    "A1111, only the masked area": (
        "/sdapi/v1/img2img",
        {
            "json": {
                "prompt": "x",
                "init_images": [b64encode(png((400, 300))).decode()],
                "mask": IMAGE,
                "inpaint_full_res": True,
                "width": 64,
                "height": 64,
            }
        },
    ),
}
TOO_LONG: dict[str, tuple[str, dict[str, Any]]] = {
    "native": ("/v1/jobs", {"json": {"kind": "txt2img", "params": {**DRAWN, "num_inference_steps": 11}}}),
    "Prodia v1": ("/v1/sd/generate", {"json": {**DRAWN, "steps": 11}}),
    "Prodia v2": ("/v2/job", v2({**DRAWN, "steps": 11}, "inference.photogram.txt2img.v1")),
    "OpenAI": ("/v1/images/generations", {"json": {"prompt": "x", "size": "512x512", "num_inference_steps": 11}}),
    "OpenAI, a series": (
        "/v1/images/generations",
        {"json": {"prompt": "x", "size": "256x256", "num_inference_steps": 5, "n": 9}},
    ),
    "OpenAI, edits": (
        "/v1/images/edits",
        {
            "data": {"prompt": "x", "size": "512x512", "num_inference_steps": "21", "strength": "0.6"},
            "files": {"image": ("a.png", png(), "image/png")},
        },
    ),
    "A1111": ("/sdapi/v1/txt2img", {"json": {**DRAWN, "steps": 11}}),
    "A1111, a series": (
        "/sdapi/v1/txt2img",
        {"json": {"prompt": "x", "width": 256, "height": 256, "steps": 5, "n_iter": 3, "batch_size": 3}},
    ),
    "A1111 extras of many": (
        "/sdapi/v1/extra-batch-images",
        {
            "json": {
                "imageList": [{"data": b64encode(png((149, 149))).decode(), "name": "a"}] * 31,
                "upscaler_1": "Lanczos",
                "upscaling_resize": 2,
            }
        },
    ),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_too_large_a_result_is_refused_by_every_dialect(case: str, limited: httpx.Client, redis: Redis) -> None:
    assert_refused(*TOO_LARGE[case], MAX_OUTPUT_PX, limited, redis)


@pytest.mark.parametrize("case", TOO_LONG)
def test_too_many_steps_are_refused_by_every_dialect(case: str, limited: httpx.Client, redis: Redis) -> None:
    assert_refused(*TOO_LONG[case], MAX_STEP_PX, limited, redis)


def assert_refused(path: str, sent: dict[str, Any], limit: int, limited: httpx.Client, redis: Redis) -> None:
    answer = limited.post(path, **sent)
    assert answer.status_code in (400, 422), answer.text
    assert NUMBER.format(limit) in told(answer)
    assert redis.keys("photogram:job:*") == []


def told(answer: httpx.Response) -> str:
    """What the answer says; Prodia's API v1 has the reason in a header, because its texts are fixed."""
    return answer.headers.get("X-Photogram-Reason", "") + answer.text


def test_the_native_problem_can_be_read_by_programs(limited: httpx.Client) -> None:
    path, sent = TOO_LARGE["native"]
    (problem,) = limited.post(path, **sent).json()["errors"]
    assert problem["field"] == "params.scale"
    assert (problem["code"], problem["high"]) == ("too_costly", MAX_OUTPUT_PX)
    assert "160000 pixels" in problem["message"]


def test_too_many_candidates_are_refused_by_their_number(limited: httpx.Client) -> None:
    params = {"prompt": "x", "width": 256, "height": 256, "num_inference_steps": 20}
    two, three = (
        limited.post("/v1/jobs", json={"kind": "txt2img", "params": params | {"best_of": count}}) for count in (2, 3)
    )
    assert two.status_code == 202
    (problem,) = three.json()["errors"]
    assert (problem["field"], problem["code"], problem["high"]) == ("params.best_of", "too_costly", MAX_STEP_PX)


def test_dialects_name_their_own_fields(limited: httpx.Client) -> None:
    named = {"Prodia v1": "resize", "A1111 extras": "upscaling_resize", "A1111 hires": "hr_scale", "Prodia v2": "scale"}
    for case, field in named.items():
        path, sent = TOO_LARGE[case]
        assert field in told(limited.post(path, **sent))


def test_what_is_within_the_limits_is_accepted(limited: httpx.Client) -> None:
    for params in ({"image": IMAGE, "scale": 2}, {"image": "https://example.org/cat.png", "scale": 4}):
        assert limited.post("/v1/jobs", json={"kind": "upscale", "params": params}).status_code == 202


def test_the_limits_are_listed(limited: httpx.Client) -> None:
    listed = limited.get("/v1/limits").json()
    assert (listed["output_px"], listed["step_px"]) == (MAX_OUTPUT_PX, MAX_STEP_PX)
    assert listed["source_px"] == CPU_LIMITS.source_px
    assert httpx.get(str(limited.base_url) + "/v1/limits").status_code == 401

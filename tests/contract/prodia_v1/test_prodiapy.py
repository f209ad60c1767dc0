"""The unmodified PyPI package ``prodiapy``, both of its clients, through every call that it has."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from typing import Any

import httpx
import prodiapy
import pytest
from prodiapy.exceptions import AuthenticationError, FailedJobError, InvalidParameterError, UnknownError

from models.catalog.samplers import LISTED

CONTROLNET = "control_v11p_sd15_canny [d14c016b]"
ASPECTS = {"steps": 2, "cfg_scale": 3, "seed": 5, "sampler": "Euler", "width": 64, "height": 64}


class Client:
    """One of the two clients, called in the same way."""

    def __init__(self, service: Any, flavour: Any) -> None:
        self.service = service
        self.prodia = flavour.Prodia(api_key=service.key, base_url=service.base)

    def __call__(self, call: str, *args: Any, **fields: Any) -> Any:
        method = self.prodia
        for part in call.split("."):
            method = getattr(method, part)
        answer = method(*args, **fields)
        return asyncio.run(answer) if inspect.isawaitable(answer) else answer

    def drawn(self, call: str, **fields: Any) -> Any:
        """The image that comes of a call."""
        job = self(call, **fields)
        assert job == {"job": str(uuid.UUID(job["job"], version=4)), "status": "queued"}
        result = self("wait", job)
        assert not result.failed and result.job_id == job["job"] and result.image_url == result.json["imageUrl"]
        return self.service.image(result.json)


@pytest.fixture(params=[prodiapy, prodiapy.aio], ids=["sync", "aio"])
def client(request: pytest.FixtureRequest, service: Any) -> Client:
    return Client(service, request.param)


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_generate(client, family):
    image = client.drawn(f"{family}.generate", prompt="a red apple", style_preset="anime", **ASPECTS)
    assert image.size == (64, 64)
    text = image.info["parameters"]
    assert "Steps: 2" in text and "Seed: 5" in text and "CFG scale: 3" in text and "Size: 64x64" in text
    assert ("Model: tiny-xl" if family == "sdxl" else "Model: paint") in text


def test_an_unknown_model_and_a_lora(client):
    model = "dreamshaper_8.safetensors [9d40847d]"
    image = client.drawn("sd.generate", prompt="a cat <lora:more_details_v10:0.7>", model=model, seed=2**60)
    assert "Model: tiny" in image.info["parameters"] and "<lora:more_details_v10:0.7>" in image.info["parameters"]


def test_upscale_true_doubles_the_size(client):
    assert client.drawn("sd.generate", prompt="a cat", upscale=True, **ASPECTS).size == (128, 128)


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_transform(client, family, image_data):
    call, fields = f"{family}.transform", {"prompt": "a pear", "image_data": image_data, **ASPECTS}
    slight, strong = (client.drawn(call, denoising_strength=strength, **fields) for strength in (0.5, 1.0))
    assert slight.size == strong.size == (64, 64) and slight.tobytes() != strong.tobytes()
    assert "Denoising strength: 0.5" in slight.info["parameters"]


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_inpainting(client, family, image_data, mask_data):
    fields = {"mask_blur": 2, "inpainting_fill": 1, "inpainting_mask_invert": 0, "inpainting_full_res": False}
    fields |= {"image_data": image_data, "mask_data": mask_data, "prompt": "a hat", **ASPECTS}
    image, again = (client.drawn(f"{family}.inpainting", **fields | {"seed": seed}) for seed in (5, 6))
    kept, other = (each.convert("RGB").crop((48, 0, 64, 64)) for each in (image, again))
    assert kept.tobytes() == other.tobytes()
    assert image.crop((0, 0, 24, 64)).tobytes() != again.crop((0, 0, 24, 64)).tobytes()


def test_controlnet(client, image_data):
    fields = {"controlnet_model": CONTROLNET, "controlnet_module": "canny", "controlnet_mode": 2, "resize_mode": 1}
    image = client.drawn(
        "sd.controlnet", prompt="a plate", model="tiny", image_data=image_data, threshold_a=100, threshold_b=200,
        **fields, **ASPECTS,
    )  # fmt: skip
    assert "Module: canny, Model: control_v11p_sd15_canny" in image.info["parameters"]


@pytest.mark.parametrize(("resize", "size"), [(2, (192, 128)), (4, (384, 256)), (None, (192, 128))])
def test_upscale(client, image_data, resize, size):
    assert client.drawn("upscale", image_data=image_data, resize=resize, model="Lanczos").size == size


def test_a_link_from_one_job_is_taken_by_the_next(client):
    first = client("wait", client("create", "/sd/generate", prompt="a fish"))
    assert client.drawn("upscale", image_url=first.image_url, resize=2).size == (128, 128)


@pytest.mark.parametrize("call", ["faceswap", "facerestore", "photomaker"])
def test_what_cannot_be_done_is_refused(client, call, image_data):
    images = {"source_url": "https://example.com/a.png", "target_url": "https://example.com/b.png"}
    fields = images if call == "faceswap" else {"image_url": "https://example.com/a.png"}
    if call == "photomaker":
        fields = {"image_data": [image_data], "prompt": "man img", "strength": 20}
    with pytest.raises(InvalidParameterError, match=r"returned 400\. Details: Invalid Generation Parameters"):
        client(call, **fields)


def test_lists(client):
    assert client("sd.models") == client("constants", "/sd/models") == ["house", "paint", "tiny"]
    assert client("sdxl.models") == ["tiny-xl"]
    assert client("sd.samplers") == client("sdxl.samplers") == list(LISTED)
    assert client("sd.loras") == ["more_details_v10.safetensors"]
    assert client("sd.embeddings") == client("sdxl.embeddings") == []


def test_errors_are_told_apart(client, service):
    with pytest.raises(InvalidParameterError):
        client("sd.generate", prompt="x", steps=0)
    with pytest.raises(InvalidParameterError):
        client("sd.generate")
    with pytest.raises(UnknownError, match="404"):
        client("job", "00000000-0000-4000-8000-000000000000")
    client.prodia = type(client.prodia)(api_key="wrong", base_url=service.base)
    with pytest.raises(AuthenticationError, match="Key Not Recognised"):
        client("sd.generate", prompt="x")


def test_a_job_that_fails(client, service):
    job = client("sd.transform", prompt="x", image_url="http://nothing.invalid/nothing.png")
    with pytest.raises(FailedJobError):
        client("wait", job)
    assert client("wait", job, raise_on_fail=False).failed
    answer = httpx.get(f"{service.base}/job/{job['job']}", headers={"X-Prodia-Key": service.key})
    assert answer.headers["x-photogram-reason"]

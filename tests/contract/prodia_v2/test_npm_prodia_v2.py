"""The unmodified npm packages ``prodia`` (its v2) and ``@ai-sdk/prodia``, through every sort of job that they know."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.prodia_v2.conftest import opened

HERE = Path(__file__).parent
WORDS = {"prompt": "a red apple", "steps": 2, "seed": 5}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def prodia(node: Any, service: Any) -> Ask:
    """Runs jobs with ``prodia/v2``, one after another."""
    return lambda *jobs, key=service.key: node(HERE / "prodia_v2.cjs", jobs, service.base, key)


@pytest.fixture
def ai_sdk(node: Any, service: Any) -> Ask:
    """Makes calls of the AI SDK, one after another."""
    return lambda *calls, key=service.key: node(HERE / "ai_sdk.cjs", calls, service.base, key)


def job(name: str, **config: Any) -> dict[str, Any]:
    return {"type": f"inference.{name}", "config": config}


def text(data: bytes) -> str:
    return b64encode(data).decode()


def test_prodia_draws_in_every_format(prodia):
    answers = prodia(*([job("sd15.txt2img.v1", **WORDS), accept] for accept in (None, "image/png", "image/webp")))
    for answer, (media_type, name) in zip(
        answers,
        [("image/jpeg", "output.jpg"), ("image/png", "output.png"), ("image/webp", "output.webp")],
        strict=True,
    ):
        assert (answer["type"], answer["name"], answer["parts"]) == (media_type, name, ["job", "output"])
        image = opened(b64decode(answer["output"]))
        assert image.get_format_mimetype() == media_type and image.size == (128, 128)
        assert answer["job"]["config"] == {**WORDS, "model": "paint"}
        assert UUID.fullmatch(answer["job"]["id"]) and answer["job"]["metrics"]["ips"] > 0
    assert "Seed: 5," in opened(b64decode(answers[1]["output"])).info["parameters"]


@pytest.mark.parametrize("given", ["File", "Blob", "Uint8Array", "ArrayBuffer"])
def test_prodia_sends_images_in_every_way_that_it_has(prodia, disc, left_half, given):
    config = {**WORDS, "strength": 0.5}
    answers = prodia(
        [job("sd15.img2img.v1", **config), "image/png", [text(disc)], given],
        [job("sd15.inpainting.v1", **WORDS), "image/png", [text(disc), text(left_half)], given],
        [job("upscale.v1", upscale=2), "image/png", [text(disc)], given],
    )
    images = [opened(b64decode(answer["output"])) for answer in answers]
    assert [image.size for image in images] == [(128, 128), (128, 128), (256, 192)]
    assert "Denoising strength: 0.5" in images[0].info["parameters"] and "Mask" in images[1].info["parameters"]
    assert answers[2]["job"]["config"] == {"upscale": 2, "scale": 2, "upscaler": "Lanczos"}


def test_prodia_tells_our_errors_apart(prodia, service, disc):
    answers = prodia(
        [job("sd15.txt2img.v1", prompt="x", steps=1001)],
        [job("faceswap.v1"), None, [text(disc), text(disc)], "Blob"],
        [job("flux.schnell.txt2img.v1", prompt="puppies in a cloud, 4k")],
        [job("sd15.img2img.v1", prompt="x", image="http://127.0.0.1/a.png")],
    )
    assert [answer["error"] for answer in answers] == ["ProdiaUserError"] * 4
    told = [answer["message"] for answer in answers]
    assert told[0].startswith("steps: maximum: got 1,001, want 1,000") and "face swap is not available" in told[1]
    assert "no model of the family flux is in the catalog" in told[2] and "127.0.0.1" in told[3]
    assert all(UUID.search(message) for message in told)
    (unknown,) = prodia([job("sd15.txt2img.v1", **WORDS)], key="bad-token-xxx")
    assert unknown == {"error": "ProdiaBadResponseError", "message": "401 token is invalid"}


def test_prodia_pings(prodia):
    (answer,) = prodia([{"type": "inference.ping.v1"}])
    assert answer["parts"] == ["job"] and answer["job"]["state"]["current"] == "processed"


def test_ai_sdk_draws(ai_sdk):
    options = {"prodia": {"steps": 2, "stylePreset": "anime"}}
    (answer,) = ai_sdk(
        ["image", "inference.sd15.txt2img.v1", {"prompt": "a red apple", "size": "256x128", "seed": 5,
                                                "providerOptions": options}],
    )  # fmt: skip
    ((media_type, image),) = answer["files"]
    assert media_type == "image/png" and answer["warnings"] == []
    drawn = opened(b64decode(image))
    assert drawn.size == (256, 128) and "Style preset: anime" in drawn.info["parameters"]
    assert answer["metadata"]["seed"] == 5 and answer["metadata"]["dollars"] == 0
    assert answer["metadata"]["iterationsPerSecond"] > 0 and UUID.fullmatch(answer["metadata"]["jobId"])


def test_ai_sdk_draws_over_an_image_as_a_language_model(ai_sdk, disc):
    options = {"providerOptions": {"prodia": {"aspectRatio": "16:9"}}}
    (answer,) = ai_sdk(
        ["language", "inference.photogram.img2img.v1", {"prompt": "a blue car", "image": text(disc), **options}]
    )
    ((media_type, image),) = answer["files"]
    drawn = opened(b64decode(image))
    assert media_type == "image/jpeg" and drawn.width > drawn.height
    assert answer["metadata"]["seed"] >= 0


def test_ai_sdk_shows_why_something_is_refused(ai_sdk, disc):
    answers = ai_sdk(
        ["image", "inference.flux-fast.schnell.txt2img.v2", {"prompt": "x"}],
        ["language", "inference.nano-banana.img2img.v2", {"prompt": "x", "image": text(disc)}],
        ["video", "inference.wan2-2.lightning.txt2vid.v0", {"prompt": "x"}],
    )
    assert [(answer["error"], answer["status"]) for answer in answers] == [("AI_APICallError", 400)] * 3
    reasons = ["no model of the family flux", "only its maker has the weights", "draws images, not videos"]
    assert all(reason in answer["message"] for reason, answer in zip(reasons, answers, strict=True))

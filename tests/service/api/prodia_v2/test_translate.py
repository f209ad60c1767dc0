"""Prodia v2's jobs as the core understands them: which image is which, what fields mean, which model draws."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image as Image
from redis import Redis

from models.jobs.params import DrawParams, JobParams, LoraUse
from service.api.app import create_app
from service.backbone.keyspace import workers_key
from service.backbone.ledger import Ledger
from service.backbone.settings import Settings

CATALOG = """
[models.other]
folder = "nowhere"
limits = { max_steps = 1000 }
[models.xl]
folder = "nowhere"
family = "sdxl"
[models."xl refiner"]
folder = "nowhere"
family = "sdxl-refiner"
[models.flux-dev]
folder = "nowhere"
family = "flux"
[models.quick]
folder = "nowhere"
family = "flux"
aliases = ["flux-schnell"]
[loras.film]
file = "film.safetensors"
[upscalers.RealESRGAN_x4plus]
file = "RealESRGAN_x4plus.pth"
[faces.detector]
file = "face_detection_yunet_2023mar.onnx"
[faces.restorer]
file = "GFPGANv1.4.pth"
[controlnets.canny]
file = "canny.safetensors"
"""


def png(color: str) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (16, 16), color).save(buffer, "PNG")
    return buffer.getvalue()


RED, GREEN, BLUE = map(png, ("red", "green", "blue"))


def source(data: bytes) -> str:
    return f"input:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture(scope="module")
def catalog_url(serve: Callable[..., Any], valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a catalog of every family; nothing of it is there to be drawn with."""
    data: Path = tmp_path_factory.mktemp("families")
    (data / "catalog.toml").write_text(CATALOG)
    with serve(create_app(Settings(redis_url=valkey_url, data=data))) as url:
        yield url


@pytest.fixture
def http(catalog_url: str, redis: Redis, key: str) -> Iterator[httpx.Client]:
    redis.zadd(workers_key(), {"worker": time.time()})
    with httpx.Client(base_url=catalog_url, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


Ask = Callable[..., JobParams]


@pytest.fixture
def ask(http: httpx.Client, redis: Redis) -> Ask:
    """Queues a job of a type; gives the parameters that a worker would get."""

    def post(name: str, config: dict[str, Any], *inputs: tuple[str, bytes]) -> JobParams:
        answer = send(http, name, config, *inputs)
        assert answer.status_code == 201, answer.text
        record = Ledger(redis, 60).read(answer.json()["id"])
        assert record is not None
        return record.params

    return post


def send(http: httpx.Client, name: str, config: dict[str, Any], *inputs: tuple[str, bytes]) -> httpx.Response:
    job = {"type": f"inference.{name}", "config": config}
    if not inputs:
        return http.post("/v2/job/async", json=job)
    parts = [("input", (filename, data, "image/jpeg")) for filename, data in inputs]
    parts.append(("job", ("blob", json.dumps(job).encode(), "text/plain")))
    return http.post("/v2/job/async", files=parts, headers={"Accept": "application/json"})


def refusal(http: httpx.Client, name: str, config: dict[str, Any], *inputs: tuple[str, bytes]) -> str:
    answer = send(http, name, config, *inputs)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def test_every_field_of_an_image(ask):
    params = ask("photogram.txt2img.v1", {
        "prompt": "a cat", "negative_prompt": "rain", "model": "house", "steps": 7.0, "width": 256, "height": 128,
        "seed": 5, "style_preset": "anime", "cfg_scale": 3, "guidance": 3.0, "sampler": "k_euler_a", "clip_skip": 1,
        "loras": ["film@0.5", {"name": "film", "weight": 0.25}], "second_pass": {"scale": 2}, "priority": -1,
        "refiner": False, "strength": None, "reuse_interval": 2,
    })  # fmt: skip
    assert isinstance(params, DrawParams)
    assert (params.prompt, params.negative_prompt, params.model) == ("a cat", "rain", "house")
    assert (params.num_inference_steps, params.width, params.height, params.seed) == (7, 256, 128, 5)
    assert (params.style_preset, params.guidance_scale, params.sampler, params.clip_skip) == (
        "anime",
        3.0,
        "Euler a",
        1,
    )
    assert params.loras == (LoraUse(name="film", weight=0.75),)
    assert params.second_pass is not None and params.priority == -1 and params.reuse_interval == 2


@pytest.mark.parametrize(
    ("lora", "use"),
    [
        ("film", LoraUse(name="film")),
        ("film@0.5", LoraUse(name="film", weight=0.5)),
        ("film:-2", LoraUse(name="film", weight=-2.0)),
        ("film.safetensors@1e-1", LoraUse(name="film", weight=0.1)),
    ],
)
def test_loras_may_carry_their_weight(ask, lora, use):
    assert ask("sd15.txt2img.v1", {"prompt": "x", "loras": [lora]}).loras == (use,)


def test_numbers_may_be_texts_and_empty_texts_are_left_out(ask):
    sent = {"steps": "20", "cfg_scale": "7.5", "width": 100, "height": "128.0", "seed": "-1", "strength": ""}
    empty = dict.fromkeys(("model", "sampler", "style_preset", "aspect_ratio", "image", "clip_skip"), "")
    params = ask("sd15.txt2img.v1", {"prompt": "", **sent, **empty})
    assert (params.num_inference_steps, params.guidance_scale, params.width, params.height) == (20, 7.5, 96, 128)


@pytest.mark.parametrize(("seed", "drawn"), [(2**53, 0), ("9007199254740993", 1), (2**64 - 1, 2**53 - 1)])
def test_seeds_of_more_than_53_bits_are_folded(ask, seed, drawn):
    assert ask("sd15.txt2img.v1", {"prompt": "x", "seed": seed}).seed == drawn


def test_a_lora_that_is_not_there_is_named(http):
    told = refusal(http, "sd15.txt2img.v1", {"prompt": "x", "loras": ["prodia/lora/flux/anime@v1"]})
    assert "there is no LoRA 'prodia/lora/flux/anime@v1'" in told


def test_an_aspect_ratio_instead_of_a_size(ask):
    params = ask("sd15.txt2img.v1", {"prompt": "x", "aspect_ratio": "16:9"})
    assert params.width > params.height


@pytest.mark.parametrize(
    ("name", "config", "model"),
    [
        ("photogram.txt2img.v1", {}, "house"),
        ("photogram.txt2img.v1", {"model": "other"}, "other"),
        ("house.txt2img.v1", {}, "house"),
        ("sd15.txt2img.v1", {}, "house"),
        ("sd15.txt2img.v1", {"model": "other"}, "other"),
        ("sdxl.txt2img.v1", {}, "xl"),
        ("flux.dev.txt2img.v1", {}, "flux-dev"),
        ("flux.dev.txt2img.v2", {}, "flux-dev"),
        ("flux.schnell.txt2img.v1", {}, "quick"),
        ("flux-fast.schnell.txt2img.v2", {}, "quick"),
    ],
)
def test_each_type_draws_with_a_model_of_its_family(ask, name, config, model):
    assert ask(name, {"prompt": "x", **config}).model == model


def test_the_built_in_model_stands_back_behind_others_of_its_family(serve, redis_url, key, tmp_path):
    (tmp_path / "catalog.toml").write_text('default = "xl"\n' + CATALOG)
    headers = {"Authorization": f"Bearer {key}"}
    with serve(create_app(Settings(redis_url=redis_url, data=tmp_path))) as url:
        types = httpx.get(f"{url}/v2/types", headers=headers).json()["types"]
    models = {each["type"]: each["model"] for each in types}
    assert models["inference.sd15.txt2img.v1"] == "other" and models["inference.photogram.txt2img.v1"] == "xl"


def test_a_model_of_another_family_is_refused(http):
    told = refusal(http, "sdxl.txt2img.v1", {"prompt": "x", "model": "house"})
    assert told == "model: house is of the family stable-diffusion, and inference.sdxl.txt2img.v1 needs sdxl"
    assert "there is no model 'dreams'" in refusal(http, "sd15.txt2img.v1", {"prompt": "x", "model": "dreams"})


def test_a_refiner_by_its_name_or_without(ask, http):
    assert ask("sdxl.txt2img.v1", {"prompt": "x", "refiner": True}).refiner.model == "xl refiner"
    named = {"prompt": "x", "refiner": {"model": "xl refiner", "start": 0.5}}
    assert ask("sdxl.txt2img.v1", named).refiner.start == 0.5
    assert "refiner: has no effect" in refusal(http, "sd15.txt2img.v1", {"prompt": "x", "refiner": True})


FILE_TWICE = (("mine.png", RED), ("image.jpg", RED))
"""As Prodia's own client sends a ``File``."""


def test_one_image_by_its_place(ask):
    for inputs in ([("image.jpg", RED)], FILE_TWICE, [("", RED)]):
        params = ask("sd15.img2img.v1", {"prompt": "x", "strength": 0.5}, *inputs)
        assert params.image == source(RED) and params.strength == 0.5


def test_an_image_and_its_mask_by_their_places(ask):
    params = ask("sd15.inpainting.v1", {"prompt": "x"}, *FILE_TWICE, ("image.jpg", GREEN), ("image.jpg", GREEN))
    assert (params.image, params.mask.image) == (source(RED), source(GREEN))
    same = ask("sd15.inpainting.v1", {"prompt": "x"}, ("image.jpg", RED), ("image.jpg", RED))
    assert same.image == same.mask.image == source(RED)


def test_images_by_their_names_whatever_their_order(ask):
    inputs = (("a.png", GREEN), ("b.png", RED))
    for config in ({"image": "b.png", "mask": "a.png"}, {"images": ["b.png", "a.png"]}, {"image": "b.png"},
                   {"mask": {"image": "a.png"}}):  # fmt: skip
        params = ask("sd15.inpainting.v1", {"prompt": "x", **config}, *inputs)
        assert (params.image, params.mask.image) == (source(RED), source(GREEN)), config


def test_how_a_mask_is_used(ask):
    mask = {"blur_px": 0, "invert": True, "only_masked": True, "padding_px": 8, "fill": "fill"}
    params = ask("photogram.inpainting.v1", {"prompt": "x", "mask": mask}, ("a", RED), ("b", GREEN))
    assert params.mask.image == source(GREEN)
    assert {name: getattr(params.mask, name) for name in mask} == mask


def test_a_controls_image_by_its_name(ask):
    control = {"model": "canny", "image": "lines.png", "weight": 0.5}
    inputs = (("lines.png", BLUE), ("image.png", RED))
    params = ask("photogram.img2img.v1", {"prompt": "x", "controls": [control]}, *inputs)
    assert (params.image, params.controls[0].image) == (source(RED), source(BLUE))


def test_images_from_elsewhere(ask):
    url = "https://example.org/cat.png"
    assert ask("sd15.img2img.v1", {"prompt": "x", "image": url}).image == url
    assert ask("sd15.img2img.v1", {"prompt": "x", "images": [url]}).image == url
    ask("sd15.img2img.v1", {"prompt": "x"}, ("a", RED))
    assert ask("sd15.img2img.v1", {"prompt": "x", "image": source(RED)}).image == source(RED)


@pytest.mark.parametrize(
    ("name", "config", "inputs", "told"),
    [
        ("sd15.img2img.v1", {}, [], "image: is required for kind img2img"),
        ("sd15.inpainting.v1", {}, [("a", RED)], "mask: is required for kind inpaint"),
        ("sd15.txt2img.v1", {}, [("a", RED)], "input: the job takes 0 that config does not name, and the form has 1"),
        ("sd15.txt2img.v1", {"image": "a"}, [("a", RED)], "image: has no effect on kind txt2img"),
        ("sd15.img2img.v1", {}, [("a", RED), ("b", GREEN)], "input: the job takes 1 that config does not name"),
        ("sd15.img2img.v1", {"image": "c"}, [("a", RED), ("b", GREEN)], "no input named 'c'; there are: 'a', 'b'"),
        ("sd15.img2img.v1", {"image": "a"}, [("a", RED), ("a", GREEN)], "there are 2 inputs named 'a'"),
        ("sd15.img2img.v1", {"images": ["a", "b"]}, [("a", RED), ("b", GREEN)], "images: names 2 images"),
        ("sd15.img2img.v1", {}, [("a", b"no image")], "input: this is no image"),
        ("sd15.img2img.v1", {}, [("a", RED[:40])], "input: "),
        ("upscale.v1", {}, [], "input: inference.upscale.v1 needs an image"),
        ("upscale.v1", {"scale": 9}, [("a", RED)], "scale: maximum: got 9, want 8"),
        ("upscale.v1", {"scale": 2, "upscale": 4}, [("a", RED)], "scale: differs from upscale"),
        ("sd15.txt2img.v1", {"cfg_scale": 3, "guidance_scale": 4}, [], "guidance_scale and cfg_scale: are names"),
        ("sd15.txt2img.v1", {"width": 9000}, [], "width: maximum: got 9,000, want 2,048 (must be from 64"),
        ("sd15.txt2img.v1", {"width": 0}, [], "width: minimum: got 0, want 64 ("),
        ("sd15.txt2img.v1", {"steps": 0}, [], "steps: minimum: got 0, want 1 ("),
        ("sd15.txt2img.v1", {"sampler": "DPM adaptive"}, [], "sampler: DPM adaptive cannot be used"),
        ("sd15.txt2img.v1", {"style_preset": "baroque"}, [], "there is no style 'baroque'"),
        ("sd15.txt2img.v1", {"steps": "many"}, [], "steps: must be a valid integer"),
        ("sd15.txt2img.v1", {"seed": True}, [], "seed: must be a valid integer"),
        ("sd15.txt2img.v1", {"loras": [5]}, [], "loras[0]: must be a valid string"),
        ("photogram.inpainting.v1", {"mask": {"feather": 5}}, [("a", RED)], "mask.feather: there is no such"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_its_name(http, redis, name, config, inputs, told):
    assert told in refusal(http, name, {"prompt": "x", **config} if "upscale" not in name else config, *inputs)


def test_upscaling(ask):
    params = ask("upscale.v1", {"image": "x.png", "upscale": 4}, ("x.png", RED))
    assert (params.scale, params.upscaler, params.image) == (4, "RealESRGAN_x4plus", source(RED))
    assert ask("resrgan.upscale.v1", {"scale": 2}, ("x.png", RED)).upscaler == "RealESRGAN_x4plus"
    assert ask("upscale.v1", {"upscaler": "Nearest"}, ("x.png", RED)).upscaler == "Nearest"


def test_face_restoration(ask):
    for name in ("facerestore.upscale.v1", "facerestore.v1"):
        assert ask(name, {}, ("x.png", RED)).image == source(RED)


def test_what_is_ignored_is_told(http):
    job = {"type": "inference.sd15.txt2img.v1", "config": {"prompt": "x", "include_messages": True, "\ud800": 1}}
    content = json.dumps(job)
    warnings = http.post("/v2/job/async", content=content, headers={"Content-Type": "application/json"}).json()[
        "warnings"
    ]
    assert len(warnings) == 2 and "'include_messages' is not known here" in warnings[0]
    parts = [("job", ("job.json", content.encode())), ("extra", ("a", b"x"))]
    job = http.post("/v2/job/async", files=parts).json()
    assert "the part 'extra' is not known here" in job["warnings"][0]
    assert http.get(f"/v2/job/{job['id']}").json()["warnings"] == job["warnings"]


def test_whole_images_are_not_told_again(http):
    whole = "data:image/png;base64," + "A" * 1000
    answer = send(http, "sd15.img2img.v1", {"prompt": "x", "image": whole})
    assert answer.status_code == 400 and len(answer.text) < 1200
    name = {"prompt": "x", "image": "https://example.org/a.png"}
    assert send(http, "sd15.img2img.v1", name).json()["config"]["image"] == name["image"]


NASTY = [
    None,
    True,
    -1,
    0,
    10**40,
    -(10**40),
    1e300,
    0.5,
    "",
    "x" * 5000,
    "\ud800",
    "\0",
    [],
    [[]],
    {},
    {"image": 5},
    [None],
    ["a"],
]
FIELDS = [
    "prompt", "negative_prompt", "model", "steps", "width", "height", "aspect_ratio", "seed", "style_preset", "loras",
    "guidance_scale", "cfg_scale", "guidance", "sampler", "strength", "image", "images", "mask", "refiner",
    "progressive", "resize_mode", "clip_skip", "controls", "second_pass", "reuse_interval", "priority", "scale",
    "upscale", "upscaler",
]  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_nothing_that_a_field_may_hold_breaks_the_server(http, field):
    for value in NASTY:
        for name in ("photogram.img2img.v1", "upscale.v1"):
            job = {"type": f"inference.{name}", "config": {"prompt": "x", "image": "https://e.org/a", field: value}}
            answer = http.post("/v2/job/async", content=json.dumps(job), headers={"Content-Type": "application/json"})
            assert answer.status_code in (201, 400), (name, value, answer.text)
            assert answer.json().get("error", "x")

"""Prodia's OpenAPI document 1.3.0, replayed: each operation, and each field with each value that the document shows.

``openapi-1.3.0.json`` holds the document's facts without its descriptions. The gateway is real, but draws nothing: the
weights in the catalog are empty files, so that every name is there that Photogram could draw with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.app import create_app
from service.backbone.keys import add_key
from service.backbone.settings import Settings
from tests.service.api.conftest import serving
from tests.weight_files import FILES as WEIGHTS
from tests.weight_files import LORA_FILE

DOCUMENT = json.loads((Path(__file__).parent / "openapi-1.3.0.json").read_text())
OPERATIONS, SCHEMAS, NAMES = DOCUMENT["operations"], DOCUMENT["schemas"], DOCUMENT["names"]
POSTS = {name: each for name, each in OPERATIONS.items() if each["method"] == "POST"}
LISTS = [each["path"] for each in OPERATIONS.values() if each["answer"] != "object"]
KEY = "a-key-for-the-document"
URL = "https://example.com/image.png"

UNABLE = {"faceswap", "photomaker"}
"""Operations that no catalog makes possible."""
ABLE_MODULES = {
    "none", "canny", "depth", "depth_zoe", "normal_map", "segmentation", "color", "invert", "lineart_standard",
    "scribble_xdog", "shuffle", "threshold", "tile_resample",
}  # fmt: skip
UNABLE_SAMPLERS = {"DPM adaptive"}
NOT_FROM_IMAGES = {"LMS", "LMS Karras", "PLMS"}
IMAGES = {
    "imageUrl": URL, "maskUrl": URL, "sourceUrl": URL, "targetUrl": URL, "imageUrls": [URL], "model": None, "resize": 2,
    "controlnet_model": "control_v11p_sd15_canny [d14c016b]",
}  # fmt: skip
FILES = {
    "controlnets": [name.partition(" ")[0] for name in
                    SCHEMAS["ControlNetRequest"]["properties"]["controlnet_model"]["enum"]],
    "upscalers": ["ESRGAN_4x", "RealESRGAN_x4plus", "RealESRGAN_x4plus_anime_6B", "scunet_color_real_gan",
                  "scunet_color_real_psnr", "SwinIR_4x"],
    "faces": ["restorer", "detector"],
    "preprocessors": ["depth", "depth_zoe", "segmentation"],
    "loras": [name.removesuffix(".safetensors") for kind in ("Lora", "SDXLLora") for name in NAMES[kind]],
    "embeddings": NAMES["Embedding"],
}  # fmt: skip
CATALOG = """
[models.sd]
folder = "sd"
[models.xl]
folder = "sd"
family = "sdxl"
limits = { max_px = 1536 }
"""


@pytest.fixture(scope="module")
def prodia(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a gateway whose catalog has all that it can have."""
    data = tmp_path_factory.mktemp("document")
    for sort, names in FILES.items():
        (data / sort).mkdir()
        for name in names:
            (data / sort / f"{name}.safetensors").write_bytes(WEIGHTS.get(sort, LORA_FILE))
    (data / "sd").mkdir()
    (data / "sd" / "model_index.json").write_text("{}")
    (data / "catalog.toml").write_text(CATALOG)
    with (
        serving(create_app(Settings(redis_url=valkey_url, data=data))) as url,
        httpx.Client(base_url=f"{url}/v1", headers={"X-Prodia-Key": KEY}, timeout=20) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def known(redis: Any) -> None:
    """The key, after the ledger was emptied."""
    add_key(redis, KEY, "document")


def required(operation: dict[str, Any]) -> dict[str, Any]:
    """The least body that the operation takes."""
    properties = SCHEMAS[operation["body"]]["properties"]
    needed = {name: value for name, value in IMAGES.items() if name in properties}
    return needed | ({"prompt": "man img"} if "prompt" in properties else {})


def assert_answered(answer: httpx.Response, able: bool = True) -> None:
    if able:
        assert answer.status_code == 200, answer.headers.get("x-photogram-reason")
        job = answer.json()
        assert set(job) <= set(SCHEMAS["Job"]["properties"]) and job["status"] == "queued"
    else:
        assert (answer.status_code, answer.text) == (400, OPERATIONS["generate"]["responses"]["400"])
        assert answer.headers["content-type"].startswith("text/plain") and answer.headers["x-photogram-reason"]


@pytest.mark.parametrize("name", POSTS)
def test_the_least_body(prodia, name):
    assert_answered(prodia.post(POSTS[name]["path"], json=required(POSTS[name])), name not in UNABLE)


@pytest.mark.parametrize("name", POSTS)
def test_all_examples_at_once(prodia, name):
    properties = SCHEMAS[POSTS[name]["body"]]["properties"]
    examples = {field: each["example"] for field, each in properties.items() if "example" in each}
    body = required(POSTS[name]) | {key: value for key, value in examples.items() if key != "imageData"}
    body.pop("maskData", None)
    assert_answered(prodia.post(POSTS[name]["path"], json=body), name not in UNABLE)


def shown(field: dict[str, Any]) -> list[Any]:
    """Every value of a field that the document shows."""
    return [field[key] for key in ("example", "default", "minimum", "maximum") if key in field] + field.get("enum", [])


VALUES = [
    (name, field, value)
    for name, operation in POSTS.items()
    for field, each in SCHEMAS[operation["body"]]["properties"].items()
    for value in shown(each)
    if field not in ("imageData", "maskData", "controlnet_module")
]


def test_each_value_of_each_field(prodia):
    """Numbers also as strings and floats; ``model`` of /upscale has one value that nobody can use here."""
    for name, field, value in VALUES:
        spellings = [value, str(value), float(value)] if isinstance(value, int) and value is not True else [value]
        for spelling in spellings:
            answer = prodia.post(POSTS[name]["path"], json=required(POSTS[name]) | {field: spelling})
            assert_answered(answer, name not in UNABLE and value != "LDSR")


@pytest.mark.parametrize("name", POSTS)
def test_null_is_absent(prodia, name):
    body = dict.fromkeys(SCHEMAS[POSTS[name]["body"]]["properties"]) | required(POSTS[name])
    assert_answered(prodia.post(POSTS[name]["path"], json=body), name not in UNABLE)


def test_every_module(prodia):
    """Each with the thresholds of canny, as clients send them; a refusal names the module."""
    modules = SCHEMAS["ControlNetRequest"]["properties"]["controlnet_module"]["enum"]
    body = required(POSTS["controlnet"]) | {"threshold_a": 100, "threshold_b": 200}
    answers = {each: prodia.post("/sd/controlnet", json=body | {"controlnet_module": each}) for each in modules}
    refused = {each: answer for each, answer in answers.items() if answer.status_code != 200}
    assert len(modules) == 45 and set(modules) - set(refused) == ABLE_MODULES
    for module, answer in refused.items():
        assert_answered(answer, able=False)
        assert f"controlnet_module: {module} is not available: " in answer.headers["x-photogram-reason"]


@pytest.mark.parametrize(("name", "kind"), [("generate", "Model"), ("sdxl-generate", "SDXLModel")])
def test_every_model(prodia, name, kind):
    for model in NAMES[kind]:
        assert_answered(prodia.post(POSTS[name]["path"], json={"prompt": "x", "model": model}))


@pytest.mark.parametrize("name", ["generate", "transform", "inpainting", "controlnet", "sdxl-generate"])
def test_every_sampler(prodia, name):
    unable = UNABLE_SAMPLERS | (NOT_FROM_IMAGES if name in ("transform", "inpainting") else set())
    for sampler in NAMES["Sampler"]:
        body = required(POSTS[name]) | {"sampler": sampler}
        assert_answered(prodia.post(POSTS[name]["path"], json=body), sampler not in unable)


@pytest.mark.parametrize(("name", "kinds"), [("generate", "Lora Embedding"), ("sdxl-generate", "SDXLLora")])
def test_every_lora_and_embedding(prodia, name, kinds):
    loras, *embeddings = kinds.split()
    prompts = [f"x <lora:{each.removesuffix(ending)}:0.8>" for each in NAMES[loras] for ending in ("", ".safetensors")]
    for prompt in prompts + [each for kind in embeddings for each in NAMES[kind]]:
        assert_answered(prodia.post(POSTS[name]["path"], json={"prompt": prompt}))


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_key_is_needed(prodia, name):
    operation = OPERATIONS[name]
    answer = prodia.request(operation["method"], operation["path"], json={}, headers={"X-Prodia-Key": "wrong"})
    assert (answer.status_code, answer.text) == (401, operation["responses"]["401"])
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("name", POSTS)
@pytest.mark.parametrize("content", [b"{", b"[]", b'{"prompt": 5, "imageUrl": 5, "imageUrls": 5, "sourceUrl": 5}'])
def test_wrong_bodies(prodia, name, content):
    assert_answered(prodia.post(POSTS[name]["path"], content=content), able=False)


@pytest.mark.parametrize("path", LISTS)
def test_lists_are_arrays_of_names(prodia, path):
    answer = prodia.get(path)
    names = answer.json()
    assert answer.status_code == 200 and names and all(isinstance(name, str) for name in names)


def test_lists_have_prodias_names(prodia):
    assert set(NAMES["Sampler"]) - set(prodia.get("/sd/samplers").json()) == UNABLE_SAMPLERS
    assert set(NAMES["Lora"]) <= set(prodia.get("/sd/loras").json())
    assert set(NAMES["SDXLEmbedding"]) <= set(prodia.get("/sdxl/embeddings").json())


def test_a_job_is_as_the_document_has_it(prodia):
    job = prodia.get(f"/job/{prodia.post('/sd/generate', json={'prompt': 'x'}).json()['job']}").json()
    properties = SCHEMAS["Job"]["properties"]
    assert set(job) <= set(properties) and job["status"] in properties["status"]["enum"]
    assert isinstance(job["job"], str) and isinstance(job["params"], dict)

"""Images that jobs start from: every way to name one, uploads, and what is refused before anything is queued."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import struct
import zipfile
import zlib
from io import BytesIO

import httpx
import pytest
from PIL import Image as Image

from service.api.app import create_app
from service.backbone.inputs import InputStore
from service.backbone.settings import Settings

MAX_INPUT_BYTES = 50_000


def encoded(size=(16, 8), name="PNG") -> bytes:
    buffer = BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(buffer, name)
    return buffer.getvalue()


def bomb() -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def source_of(data: bytes) -> str:
    return f"input:{hashlib.sha256(data).hexdigest()}"


PNG = encoded()


@pytest.fixture
def gateway(serve, settings: Settings, key: str):
    """A client of a server of its own, which takes small images only."""
    small = Settings(redis_url=settings.redis_url, data=settings.data, max_input_bytes=MAX_INPUT_BYTES)
    with serve(create_app(small)) as url, httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=20) as client:
        yield client


def img2img(image: object, **params: object) -> dict[str, object]:
    return {"kind": "img2img", "params": {"prompt": "x", "image": image, **params}}


@pytest.mark.parametrize("text", [base64_of(PNG), f"data:image/png;base64,{base64_of(PNG)}"])
def test_base64_becomes_a_stored_input(gateway, settings, text):
    job = gateway.post("/v1/jobs", json=img2img(text, seed=1)).json()
    assert (job["kind"], job["params"]["image"], job["params"]["strength"]) == ("img2img", source_of(PNG), 0.75)
    stored = InputStore(settings.inputs_folder).find(hashlib.sha256(PNG).hexdigest())
    assert stored is not None and stored.read() == PNG


def test_the_same_image_in_other_words_is_the_same_request(gateway):
    answers = [
        gateway.put("/v1/jobs/mine", json=img2img(text))
        for text in (base64_of(PNG), f"data:image/png;base64,{base64_of(PNG)}", source_of(PNG))
    ]
    assert [answer.status_code for answer in answers] == [202, 200, 200]
    assert gateway.put("/v1/jobs/mine", json=img2img(base64_of(encoded((8, 8))))).status_code == 409


def test_an_inpainting_names_each_image_as_it_likes(gateway, worker, redis):
    data = encoded(name="WEBP")
    body = {
        "kind": "inpaint",
        "params": {
            "prompt": "x",
            "image": "https://example.org/cat.png?size=l",
            "mask": {"image": base64_of(data), "blur_px": 2, "invert": True},
            "loras": [],
        },
    }
    params = gateway.post("/v1/jobs", json=body).json()["params"]
    assert params["image"] == "https://example.org/cat.png?size=l"
    assert params["mask"] == {
        "image": source_of(data), "blur_px": 2, "fill": "original", "invert": True, "only_masked": False,
        "padding_px": 32,
    }  # fmt: skip
    assert params["strength"] == 1.0


def test_what_was_drawn_here_can_be_drawn_over(client, new_job, worker, server_url):
    drawn = new_job()
    link = f"{server_url}/images/{drawn}.png"
    assert client.post("/v1/jobs", json=img2img(link)).status_code == 422
    worker.draw(drawn)
    for source in (link, f"{link}?download=1", f"image:{drawn}"):
        answer = client.post("/v1/jobs", json=img2img(source))
        assert answer.json()["params"]["image"] == f"image:{drawn}"
    elsewhere = f"https://elsewhere.example/images/{drawn}.png"
    assert client.post("/v1/jobs", json=img2img(elsewhere)).json()["params"]["image"] == elsewhere


def test_an_upload_is_named_ever_after(gateway, queued):
    data = encoded((33, 17), "JPEG")
    for _ in range(2):
        answer = gateway.post("/v1/inputs", content=data, headers={"Content-Type": "image/jpeg"})
        assert answer.status_code == 201
        assert answer.json() == {"source": source_of(data), "width": 33, "height": 17}
    job = gateway.post("/v1/jobs", json={"kind": "upscale", "params": {"image": source_of(data)}}).json()
    assert job["params"] == {"image": source_of(data), "scale": 2, "upscaler": "Lanczos", "priority": 0}
    assert (job["kind"], job["progress"]) == (
        "upscale",
        {"step": 0, "steps": 1, "loading": None, "done_bytes": None, "total_bytes": None, "note": None},
    )
    assert gateway.get(f"/v1/jobs/{job['id']}").json() | {"queue": None} == job


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("", "cannot be read|no image"),
        ("cat.png", "is not a URL"),
        ("/etc/passwd", "is not a URL"),
        ("file:///etc/passwd", "is not a URL"),
        ("data:text/html,hello", "no image"), ("data:image/png;base64", "data: URL"),
        ("data:image/png;base64,%%%", "not Base64"),
        (base64_of(PNG)[:-3], "not Base64"),
        (base64_of(PNG)[:40], "cannot be read|no image|incomplete"),
        (base64_of(b"hello, I am no image"), "no image"),
        (base64_of(bomb()), "more than 50000000 pixels"),
        (base64_of(b"\0" * (MAX_INPUT_BYTES + 10)), "at most 50000 bytes"),
        ("input:" + "0" * 64, "no such input"),
        ("input:../../../etc/passwd", "no such input"),
        ("image:../../../etc/passwd", "no such image"),
        ("image:00000000-0000-4000-8000-000000000000", "no such image"),
        ("https:///x.png", "must name a host"),
        ("\ud800", "is not a URL"),
        ("ü" * 100, "is not a URL"),
    ],
)  # fmt: skip
def test_bad_images_are_refused_by_their_field(gateway, queued, image, words):
    body = json.dumps({"kind": "inpaint", "params": {"prompt": "x", "image": source_of(PNG), "mask": {"image": image}}})
    gateway.post("/v1/inputs", content=PNG, headers={"Content-Type": "image/png"})
    answer = gateway.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["field"] == "params.mask.image" and re.search(words, error["message"]), error
    assert len(answer.content) < 2000 and queued() == 0


def test_controls_are_named_by_their_place(gateway):
    control = {"model": "canny", "image": "nothing"}
    errors = gateway.post("/v1/jobs", json=img2img(base64_of(PNG), controls=[control] * 2)).json()["errors"]
    assert [error["field"] for error in errors] == ["params.controls[0].image", "params.controls[1].image"]
    wrong = gateway.post("/v1/jobs", json=img2img(base64_of(PNG), controls=[{"model": 3}])).json()["errors"]
    assert wrong[0]["field"] == "params.controls[0].model"


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (PNG, "text/plain", 415, "unsupported_media_type"),
        (PNG, "application/json", 415, "unsupported_media_type"),
        (PNG, "", 415, "unsupported_media_type"),
        (b"", "image/png", 422, "invalid_params"),
        (b"hello", "image/png", 422, "invalid_params"),
        (bomb(), "image/png", 422, "invalid_params"),
        (b"\0" * (MAX_INPUT_BYTES + 1), "image/png", 413, "body_too_large"),
    ],
)
def test_bad_uploads(gateway, settings, content, kind, status, code):
    answer = gateway.post("/v1/inputs", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not settings.inputs_folder.exists()


def test_an_endless_upload_is_cut_off(gateway):
    def endless():
        for _ in range(100):
            yield b"\0" * 10_000

    answer = gateway.post("/v1/inputs", content=endless(), headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_that_announces_too_much_is_refused_unread(gateway):
    connection = http.client.HTTPConnection(gateway.base_url.host, gateway.base_url.port, timeout=20)
    connection.request("POST", "/v1/jobs", headers={"Content-Length": str((64 << 20) + 1)})
    with connection.getresponse() as answer:
        assert answer.status == 413
    connection.close()


def test_an_upload_needs_a_key(anonymous):
    assert anonymous.post("/v1/inputs", content=PNG, headers={"Content-Type": "image/png"}).status_code == 401


# Kinds


def test_what_cannot_be_done_here_says_so(gateway, queued):
    restore = gateway.post("/v1/jobs", json={"kind": "face_restore", "params": {"image": base64_of(PNG)}})
    swap = gateway.post("/v1/jobs", json={"kind": "face_swap", "params": {"source": "x", "target": "y"}})
    for answer in (restore, swap):
        [error] = answer.json()["errors"]
        assert (answer.status_code, error["field"]) == (422, "kind") and "not available" in error["message"]
    kinds = {each["kind"]: each["problem"] for each in gateway.get("/v1/capabilities").json()["kinds"]}
    assert [kind for kind, problem in kinds.items() if problem] == ["face_restore", "face_swap"]
    assert queued() == 0


def test_a_kind_without_its_image_says_what_is_missing(gateway):
    for kind, field in (("img2img", "params.image"), ("inpaint", "params.image"), ("upscale", "params.image")):
        errors = gateway.post("/v1/jobs", json={"kind": kind, "params": {"prompt": "x"}}).json()["errors"]
        assert errors[0] == {"field": field, "message": "is required", "code": "required"}
    stray = {"kind": "txt2img", "params": {"prompt": "x", "image": base64_of(PNG), "strength": 0.5}}
    errors = gateway.post("/v1/jobs", json=stray).json()["errors"]
    assert [(each["field"], each["message"].endswith("use kind img2img")) for each in errors] == [
        ("params.image", True), ("params.strength", True),
    ]  # fmt: skip


def test_effective_parameters_can_be_posted_again(gateway):
    for body in (
        {"kind": "txt2img", "params": {"prompt": "x", "second_pass": {"scale": 2}, "style_preset": "anime"}},
        img2img(base64_of(PNG), clip_skip=1, aspect_ratio="16:9"),
    ):
        first = gateway.post("/v1/jobs", json=body).json()
        again = gateway.post("/v1/jobs", json={"kind": first["kind"], "params": first["params"]})
        assert again.status_code == 202, again.text
        assert again.json()["params"] == first["params"]


# Archives


def zipped(files: dict[str, bytes]) -> bytes:
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


ARCHIVE = zipped({"cat/1.png": PNG, "cat/2.png": PNG, "dog/1.png": PNG, "dog/2.png": PNG})
ZIP = {"Content-Type": "application/zip"}


@pytest.fixture
def seeing(gateway, settings: Settings):
    """The gateway with a vision model, which need not be on the disk."""
    (settings.data / "catalog.toml").write_text('[vision.eye]\nrepository = "timm/resnet18"\n')
    return gateway


def labelled(*labels: str) -> list[dict[str, str]]:
    return [{"image": base64_of(PNG), "label": label} for label in labels]


def finetune(gateway: httpx.Client, path: str = "/v1/jobs", **params: object) -> httpx.Response:
    return gateway.post(path, json={"kind": "finetune", "params": params})


def test_an_archive_is_named_by_jobs_and_its_files_are_their_cost(seeing, queued):
    answer = seeing.post("/v1/archives", content=ARCHIVE, headers=ZIP)
    assert answer.json() == {"source": source_of(ARCHIVE), "files": 4, "unpacked_bytes": 4 * len(PNG)}
    frozen = finetune(seeing, "/v1/jobs/dry_run", data=source_of(ARCHIVE)).json()
    full = finetune(seeing, "/v1/jobs/dry_run", data=base64_of(ARCHIVE), full=True, epochs=10).json()
    assert frozen["cost"]["step_px"] == 4 * 224 * 224 // 10
    assert full["cost"]["step_px"] == 4 * 224 * 224 * 3 and full["params"]["data"] == source_of(ARCHIVE)
    accepted = finetune(seeing, data=source_of(ARCHIVE), name="pets")
    assert accepted.status_code == 202 and accepted.json()["params"]["name"] == "pets"


@pytest.mark.parametrize(
    ("content", "headers", "status", "reason"),
    [
        (PNG, ZIP, 422, "no zip archive"),
        (zipped({"../a.png": PNG}), ZIP, 422, "leads out of the archive"),
        (ARCHIVE, {"Content-Type": "image/png"}, 415, "must be a zip archive"),
    ],
)
def test_bad_archives(gateway, settings, content, headers, status, reason):
    answer = gateway.post("/v1/archives", content=content, headers=headers)
    assert answer.status_code == status and reason in answer.text
    assert not settings.inputs_folder.exists()


@pytest.mark.parametrize(
    ("params", "field", "reason"),
    [
        ({}, "data", "is required"),
        ({"data": source_of(b"gone")}, "data", "there is no such input"),
        ({"data": source_of(PNG)}, "data", "no zip archive"),
        ({"data": base64_of(PNG)}, "data", "no zip archive"),
        ({"data": base64_of(zipped({"/etc/passwd": b"x"}))}, "data", "leads out of the archive"),
        ({"data": "https://example.org/a.zip"}, "data", "of an uploaded zip archive"),
        ({"data": base64_of(ARCHIVE), "images": [{"image": base64_of(PNG), "label": "a"}]}, "data", "left out"),
        ({"images": [{"image": "https://example.org/a.png", "label": "a"}]}, "images[0].image", "upload the file"),
        ({"images": [{"image": base64_of(ARCHIVE), "label": "a"}]}, "images[0].image", "not"),
        ({"images": [{"image": base64_of(PNG), "label": "a\x07b"}]}, "images[0].label", "all printable"),
        ({"images": labelled("a", "a", "b", " ")}, "images[3].label", "must not be empty, unless multi_label"),
        ({"images": labelled("a", ";"), "multi_label": False}, "images[1].label", "must not be empty"),
        ({"images": labelled("a", "a;;b")}, "images[1].label", "has an empty name beside a ';'"),
        ({"images": labelled("a", "a;b"), "multi_label": False}, "images[1].label", "where multi_label is false"),
        ({"images": labelled("a", "a")}, "images", "have only the label 'a'"),
        ({"images": labelled("", ""), "multi_label": True}, "images", "have no label"),
        ({"images": labelled("a", "a", "b")}, "images", "too few of: 'b'"),
        ({"data": base64_of(ARCHIVE), "name": "../x"}, "name", "must be letters"),
        ({"data": base64_of(ARCHIVE), "name": "eye"}, "name", "already"),
        ({"data": base64_of(ARCHIVE), "augment": "__import__"}, "augment", "a policy of timm"),
    ],
)
def test_what_cannot_be_learnt_is_refused_by_its_field(seeing, queued, params, field, reason):
    seeing.post("/v1/inputs", content=PNG, headers={"Content-Type": "image/png"})
    answer = finetune(seeing, **params)
    [error, *_] = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, f"params.{field}") and reason in error["message"], error
    assert queued() == 0


def test_an_image_of_a_multi_label_model_may_have_no_label(seeing):
    answer = finetune(seeing, "/v1/jobs/dry_run", images=labelled("a", "a", "b;a", "b", ""))
    assert answer.status_code == 200 and answer.json()["params"]["images"][-1]["label"] == ""


def test_a_limit_of_cost_units_refuses_a_training_before_it_begins(serve, settings: Settings, key: str):
    (settings.data / "catalog.toml").write_text('[vision.eye]\nrepository = "timm/resnet18"\n')
    strict = Settings(redis_url=settings.redis_url, data=settings.data, key_units_per_day=1)
    with serve(create_app(strict)) as url, httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=20) as client:
        assert finetune(client, data=base64_of(ARCHIVE)).status_code == 202
        answer = finetune(client, data=base64_of(ARCHIVE), full=True, epochs=100)
        assert answer.status_code == 402 and "cost units" in answer.text

"""The client and the command line search for images, by text, by any form of image, and by one that a job made."""

import base64
import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from fastapi.responses import JSONResponse
from photogram import Duplicates, FoundImage, Job, OwnImage
from photogram_cli.command import main
from PIL import Image

from .conftest import Either
from .wire_server import PNG, WireServer

OWN = {"id": "i1", "job_id": "j1", "url": "/images/i1.png", "width": 64, "height": 48, "seed": 1}
OWN |= {"created_at": "2026-11-27T12:00:00Z", "of_a_later_version": 1}
FOUND = {**OWN, "similarity": 0.75, "prompt": "a\nred \x1bapple"}
GROUPS = {"groups": [{"count": 3, "images": [OWN, OWN]}], "total": 2, "is_complete": False}
IMAGE = {"url": "/images/a.png", "width": 64, "height": 48}


def job_of(*images: object) -> Job:
    timings = {"prepare_s": 0.0}
    result = {"images": images, "timings": timings}
    return Job.from_payload({"id": "j", "kind": "txt2img", "status": "succeeded", "params": {}, "result": result})


def query(server: WireServer) -> dict[str, list[str]]:
    """Of the search, which is the last request."""
    assert server.requests[-1][:2] == ("GET", "/v1/images/search")
    return parse_qs(server.queries[-1])


def found(server: WireServer) -> None:
    server.answer_next(lambda: JSONResponse({"images": [FOUND]}))


async def test_words_and_filters_are_sent_and_images_come_back(client: Either, server: WireServer):
    found(server)
    [image] = await client.search_images(
        "ä red apple & more", limit=3, min_similarity=0.5, tag=["a", "b"], metadata={"k": "v=w"}, search="x"
    )
    assert isinstance(image, FoundImage) and (image.id, image.similarity, image.source) == ("i1", 0.75, "image:i1")
    assert image.prompt == "a\nred \x1bapple"
    assert query(server) == {
        "text": ["ä red apple & more"], "limit": ["3"], "min_similarity": ["0.5"], "tag": ["a", "b"],
        "metadata": ["k=v=w"], "search": ["x"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("image", "source"),
    [
        ("image:abc", "image:abc"),
        ("input:123", "input:123"),
        (job_of(IMAGE), "image:a"),
        (OwnImage.from_payload(OWN), "image:i1"),
        ("{url}/images/abc.png", "image:abc"),
    ],
)
async def test_an_image_that_the_server_has_is_named(client: Either, server: WireServer, image, source: str):
    found(server)
    await client.search_images(image=image.format(url=server.url) if isinstance(image, str) else image)
    assert query(server)["image"] == [source] and not server.calls("POST", "/v1/inputs")


async def test_any_other_image_is_uploaded_first(client: Either, server: WireServer, tmp_path: Path):
    path, text = tmp_path / "a.png", base64.b64encode(PNG).decode()
    path.write_bytes(PNG)
    for image in (path, PNG, Image.new("RGB", (8, 8)), text, f"data:image/png;base64,{text}"):
        uploads = len(server.calls("POST", "/v1/inputs"))
        server.answer_next(lambda: JSONResponse({"source": "input:9", "width": 8, "height": 8}, 201))
        found(server)
        await client.search_images(image=image)
        assert query(server)["image"] == ["input:9"]
        assert len(server.calls("POST", "/v1/inputs")) == uploads + 1


@pytest.mark.parametrize(
    "like", ["i1", "image:i1", OwnImage.from_payload(OWN), job_of({**IMAGE, "url": "/images/i1.png"})]
)
async def test_an_image_of_a_job_is_named_by_its_id(client: Either, server: WireServer, like):
    found(server)
    await client.search_images(like=like)
    assert query(server)["like"] == ["i1"]


@pytest.mark.parametrize(
    ("sought", "message"),
    [
        ({}, "exactly one of text, image and like"),
        ({"text": "a", "like": "b"}, "exactly one of text, image and like"),
        ({"text": "a\ud800"}, "an argument cannot be sent"),
        ({"like": job_of(IMAGE, IMAGE)}, "has 2 images"),
        ({"like": job_of()}, "has no image"),
        ({"like": 7}, "got int"),
        ({"like": "input:12"}, "search for an upload with image"),
        ({"image": "https://example.org/a.png"}, "no URL of another one"),
        ({"image": "what?"}, "nor Base64"),
        ({"image": 7}, "no image: int"),
    ],
)
async def test_what_cannot_be_sought_is_refused_before_it_is_sent(client: Either, server: WireServer, sought, message):
    with pytest.raises(ValueError, match=message):
        await client.search_images(**sought)
    assert not server.requests


async def test_near_duplicates(client: Either, server: WireServer):
    server.answer_next(lambda: JSONResponse(GROUPS))
    groups = await client.duplicate_images(2, limit=5)
    assert isinstance(groups, Duplicates) and (groups.total, groups.is_complete) == (2, False)
    assert groups.groups[0].count == 3 and groups.groups[0].images[1].id == "i1"
    assert parse_qs(server.queries[-1]) == {"max_distance": ["2"], "limit": ["5"]}


async def test_an_image_that_was_found_is_downloaded(client: Either, server: WireServer):
    assert await client.download_image(FoundImage.from_payload(FOUND), file_format="webp") == PNG
    assert server.requests[-1][1] == "/images/i1.webp"


def test_the_command_prints_a_row_for_each_image(server: WireServer, tmp_path: Path, capsys):
    found(server)
    assert (
        main(["search", "an apple", "--limit", "2", "--tag", "a", "--metadata", "k=v", "--save-to", str(tmp_path)]) == 0
    )
    row, file = capsys.readouterr().out.splitlines()
    assert row == " 0.750  i1  j1  a red  apple" and file == f"file     {tmp_path}/i1.png"
    assert (tmp_path / "i1.png").read_bytes() == PNG
    asked = parse_qs(next(each for each in server.queries if "text" in each))
    assert asked == {"text": ["an apple"], "limit": ["2"], "tag": ["a"], "metadata": ["k=v"]}

    found(server)
    assert main(["search", "--like", "i9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["similarity"] == 0.75
    assert query(server)["like"] == ["i9"]

    (tmp_path / "b.png").write_bytes(PNG)
    server.answer_next(lambda: JSONResponse({"source": "input:9", "width": 8, "height": 8}, 201))
    found(server)
    assert main(["search", "--image", str(tmp_path / "b.png"), "--min-similarity", "0.5"]) == 0
    assert query(server)["image"] == ["input:9"] and query(server)["min_similarity"] == ["0.5"]


def test_the_command_prints_groups_of_near_duplicates(server: WireServer, capsys):
    server.answer_next(*[lambda: JSONResponse(GROUPS)] * 2)
    assert main(["duplicates", "--max-distance", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "3 images" and out[1].startswith("  image:i1  64x48") and out[3] == "  and 1 more"
    assert out[4:] == ["and 1 more groups: --limit shows more", "there were too many images to compare all of them"]
    assert main(["duplicates", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 2


@pytest.mark.parametrize(
    ("argv", "code"),
    [([], 2), (["a", "--like", "b"], 2), (["--image", "missing.png"], 1), (["a", "--save-to", "no"], 1)],
)
def test_the_command_refuses_what_makes_no_sense(server: WireServer, tmp_path: Path, monkeypatch, capsys, argv, code):
    monkeypatch.chdir(tmp_path)
    assert main(["search", *argv]) == code
    assert capsys.readouterr().err.startswith("photogram: ") and not server.requests

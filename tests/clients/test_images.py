"""The forms of images that jobs start from, and what a downloaded image can do."""

import base64
import io
import re
from pathlib import Path

import numpy
import pytest
from PIL import Image as pillow

from .conftest import Either
from .wire_server import PNG, WireServer

SENT = base64.b64encode(PNG).decode()


def sent_pixels(body: dict) -> bytes:
    file = io.BytesIO(base64.b64decode(body["params"]["image"]))
    with pillow.open(file) as image:
        return image.tobytes()


async def test_every_form_of_an_image(client: Either, server: WireServer, tmp_path: Path):
    (tmp_path / "cat.png").write_bytes(PNG)
    pixels = numpy.arange(24, dtype="uint8").reshape(2, 4, 3)
    drawn = await client.generate("a cat")
    server.records.clear()
    for image in (PNG, tmp_path / "cat.png", io.BytesIO(PNG), "image:7", "data:image/png;base64,AA==", drawn):
        await client.edit("oil", image)
    for image in (pillow.fromarray(pixels), pixels):
        await client.edit("oil", image)

    bodies = [record.body for record in server.records.values()]
    earlier = f"image:{drawn.job.id}"
    assert [body["params"]["image"] for body in bodies[:6]] == [
        SENT, SENT, SENT, "image:7", "data:image/png;base64,AA==", earlier,
    ]  # fmt: skip
    assert [sent_pixels(body) for body in bodies[6:]] == [pixels.tobytes()] * 2
    assert {body["kind"] for body in bodies} == {"img2img"}


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 2), (3, 5, 3), (3, 5, 4)])
async def test_an_array_has_one_to_four_channels(client: Either, server: WireServer, shape: tuple[int, ...]):
    pixels = numpy.arange(numpy.prod(shape), dtype="uint8").reshape(shape)
    await client.upscale(pixels)
    [record] = server.records.values()
    assert sent_pixels(record.body) == pixels.tobytes()


async def test_what_has_no_bytes_is_refused_here(client: Either, server: WireServer, tmp_path: Path):
    empty = tmp_path / "empty.png"
    empty.touch()
    with Path(__file__).open("rb") as read:
        read.read()
        for image, name in ((b"", "the bytes object"), (empty, str(empty)), (read, f"the open file {read.name}")):
            with pytest.raises(ValueError, match=re.escape(f"there is nothing to send: {name} is empty")):
                await client.classify(image)
        for call in (client.upload, client.upload_archive, client.verify_provenance):
            with pytest.raises(ValueError, match="there is nothing to send"):
                await call(io.BytesIO())
    assert server.requests == []


@pytest.mark.parametrize("image", [numpy.zeros((2, 2), "float32"), numpy.zeros(4, "uint8"), io.StringIO("x"), 7])
async def test_what_is_no_image_is_refused_here(client: Either, server: WireServer, image: object):
    with pytest.raises(ValueError, match=r"uint8|'rb'|no image"):
        await client.upload(image)
    assert server.requests == []


async def test_a_string_is_never_read_as_a_file(
    client: Either, server: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(PNG)
    with pytest.raises(ValueError, match=r"pass it as Path\('cat.png'\)"):
        await client.edit("oil", "cat.png")
    assert server.requests == []


async def test_a_saved_image_has_the_format_of_its_suffix(client: Either, server: WireServer, tmp_path: Path):
    image = await client.generate("a cat")
    image = client.of(image)
    assert (await image.save(tmp_path / "x.png")).read_bytes() == PNG
    assert len([1 for _, target, _ in server.requests if target.startswith("/images/")]) == 1
    await image.save(tmp_path / "x.WEBP")
    assert [target for _, target, _ in server.requests][-1].endswith(".webp")
    with pytest.raises(ValueError, match="the extensions are"):
        await image.save(tmp_path / "x.gif")


@pytest.mark.parametrize(
    ("mode", "sent"), [("CMYK", "RGB"), ("YCbCr", "RGB"), ("LAB", "RGB"), ("HSV", "RGB"), ("PA", "RGBA"), ("L", "L")]
)
async def test_images_of_pillow_of_other_modes_are_converted(client: Either, server: WireServer, mode: str, sent: str):
    await client.edit("oil", pillow.new(mode, (8, 8)))
    [record] = server.records.values()
    with pillow.open(io.BytesIO(base64.b64decode(record.body["params"]["image"]))) as image:
        assert image.mode == sent


async def test_an_image_of_pillow_without_a_range_is_refused(client: Either, server: WireServer):
    with pytest.raises(ValueError, match="the mode F cannot be sent: convert it to RGB"):
        await client.edit("oil", pillow.new("F", (8, 8)))
    assert not server.requests


async def test_other_bytes_and_jobs_are_images_too(client: Either, server: WireServer):
    job = (await client.generate("a cat")).job
    for image in (bytearray(PNG), memoryview(PNG), job):
        await client.edit("oil", image)
    bodies = [record.body for record in server.records.values()]
    assert [body["params"]["image"] for body in bodies[1:]] == [SENT, SENT, f"image:{job.id}"]
    server.outcome = "never"
    with pytest.raises(ValueError, match="has no image, and is queued"):
        await client.edit("oil", await client.submit("a cat"))


@pytest.mark.parametrize("prompt", [b"a cat", Path("cat.txt"), io.BytesIO(b"a cat")])
async def test_a_prompt_is_not_sent_in_base64(client: Either, server: WireServer, prompt: object):
    with pytest.raises(ValueError, match="a prompt is a text"):
        await client.generate(prompt)
    assert not server.requests


async def test_notebooks_show_an_image(client: Either):
    image = await client.generate("a cat")
    assert image._repr_png_() == PNG and image._repr_jpeg_() is None
    assert (await client.generate("a cat", file_format="jpg"))._repr_jpeg_() == PNG
    assert image._repr_mimebundle_(include=None, exclude=None) == {}
    webp = await client.generate("a cat", file_format="webp")
    assert webp._repr_mimebundle_() == {"image/webp": SENT} and webp._repr_png_() is None


@pytest.mark.parametrize(("method", "images"), [("edit", [None]), ("inpaint", [None, PNG]), ("inpaint", [PNG, None])])
async def test_an_image_that_is_none_makes_no_job_of_another_kind(
    client: Either, server: WireServer, method: str, images: list[bytes | None]
):
    with pytest.raises(ValueError, match="must be given"):
        await getattr(client, method)("a cat", *images)
    assert not server.requests


@pytest.mark.parametrize(
    "arguments", [{"file_format": "gif"}, {"file_format": "../x"}, {"seed": object()}, {"guidance_scale": float("nan")}]
)
async def test_what_cannot_be_sent_costs_no_job(client: Either, server: WireServer, arguments: dict[str, object]):
    with pytest.raises(ValueError, match=r"file_format must be one of png, jpg, webp|cannot be sent|JSON"):
        await client.generate("a cat", **arguments)
    assert not server.requests

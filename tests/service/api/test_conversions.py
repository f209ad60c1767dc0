"""Generated images in other formats: signed like the image, the same bytes every time, and gone with the image."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from models.errors import StorageUnavailable
from models.jobs.records import new_job_id
from models.media.iptc import PNG_CHUNK, TRAINED, packet, source_type
from models.provenance.reading import inspect
from models.provenance.signing import CREATED, Claim
from service.api.conversions import Conversions
from service.api.decoding import Decoding
from service.api.formats import JPEG, PNG, WEBP, ImageFormat
from service.api.stored_files import StoreReads
from service.backbone.provenance import Signing
from service.backbone.settings import Settings
from service.backbone.store import ImageStore
from tests.models.provenance.samples import encoded, photograph

IMAGE_ID = new_job_id()


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(Settings(data=tmp_path))


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


@pytest.fixture
def conversions(store: ImageStore, signing: Signing) -> Conversions:
    return Conversions(Decoding(1 << 24), store, StoreReads(), signing)


def unsigned() -> bytes:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", "a cat")
    info.add_itxt(PNG_CHUNK, packet(TRAINED))
    return encoded(photograph(64), pnginfo=info)


@pytest.fixture
def png(store: ImageStore, signing: Signing) -> bytes:
    """A signed image, which is stored."""
    signed = signing.sign(unsigned(), "image/png", Claim([CREATED], TRAINED))
    assert store.write(IMAGE_ID, signed)
    return signed


@pytest.mark.parametrize("target", [JPEG, WEBP])
async def test_a_conversion_carries_the_marks_of_the_image(
    conversions: Conversions, signing: Signing, png: bytes, target: ImageFormat
) -> None:
    found = inspect(await conversions.of(IMAGE_ID, png, target), signing.certificate())
    assert (found["media_type"], found["digital_source_type"]) == (target.media_type, TRAINED)
    assert found["parameters"] == "a cat"
    assert (found["c2pa"]["state"], found["c2pa"]["is_ours"]) == ("valid", True)
    assert found["c2pa"]["ingredients"] == [f"image:{IMAGE_ID}"]
    assert [each["action"] for each in found["c2pa"]["actions"]] == ["c2pa.opened", "c2pa.transcoded"]


async def test_the_bytes_of_an_image_in_a_format_never_change(
    conversions: Conversions, store: ImageStore, signing: Signing, png: bytes
) -> None:
    together = await asyncio.gather(*(conversions.of(IMAGE_ID, png, JPEG) for _ in range(4)))
    another_gateway = Conversions(Decoding(1 << 24), store, StoreReads(), signing)
    stored = store.find(IMAGE_ID)
    assert stored is not None
    assert {*together, await another_gateway.of(IMAGE_ID, stored, JPEG)} == {together[0]}
    others = [
        await conversions.of(IMAGE_ID, png, JPEG, quality=50),
        await conversions.of(IMAGE_ID, png, JPEG, is_progressive=True),
        await conversions.of(IMAGE_ID, png, WEBP),
    ]
    assert len({together[0], *others}) == 4
    assert await conversions.of(IMAGE_ID, stored, PNG) == png == await conversions.of(IMAGE_ID, png, PNG)


async def test_conversions_end_with_their_image(conversions: Conversions, store: ImageStore, png: bytes) -> None:
    for quality in (50, 95):
        await conversions.of(IMAGE_ID, png, JPEG, quality=quality)
    other = store.add(b"another")
    assert len(list(store.objects.list())) == 4
    store.remove(IMAGE_ID)
    assert [each.name for each in store.objects.list()] == [store.name(other)]


async def test_an_image_without_a_manifest_is_converted_without_one(
    conversions: Conversions, store: ImageStore
) -> None:
    store.write(IMAGE_ID, unsigned())
    first, second = [await conversions.of(IMAGE_ID, unsigned(), JPEG) for _ in range(2)]
    assert first == second and inspect(first)["c2pa"] is None
    assert source_type(Image.open(BytesIO(first))) == TRAINED
    assert len(list(store.objects.list())) == 1


async def test_a_crop_is_signed_too(conversions: Conversions, signing: Signing, png: bytes) -> None:
    found = inspect(await conversions.cropped(IMAGE_ID, png, (40, 30), PNG), signing.certificate())
    assert found["c2pa"]["state"] == "valid" and found["parameters"] == "a cat"
    assert [each["action"] for each in found["c2pa"]["actions"]] == ["c2pa.opened", "c2pa.cropped"]


async def test_a_full_disk_costs_no_conversion(
    conversions: Conversions, store: ImageStore, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bytes:
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(store, "keep_converted", full)
    assert inspect(await conversions.of(IMAGE_ID, png, JPEG))["c2pa"]["state"] == "untrusted"

"""C2PA manifests: signed, read back, changed, and made from other images."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise

import pytest
from PIL import Image

from models.errors import UnreadableImage
from models.media.iptc import COMPOSITE, TRAINED, packet, source_type
from models.media.png import read_texts
from models.provenance.certificates import Pair, make_pair
from models.provenance.reading import inspect
from models.provenance.signing import (
    CREATED,
    EDITED,
    TRANSCODED,
    WATERMARKED,
    Claim,
    ManifestSigner,
    Parent,
    SigningFailed,
    manifest_bytes,
)  # fmt: skip
from models.provenance.watermark import embed
from tests.models.provenance.samples import encoded, photograph


@pytest.fixture(scope="module")
def pair() -> Pair:
    return make_pair()


@pytest.fixture(scope="module")
def signer(pair: Pair) -> ManifestSigner:
    return ManifestSigner(pair.certificate, pair.key)


def png_with(parameters: str = "a cat") -> bytes:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", parameters)
    info.add_itxt("XML:com.adobe.xmp", packet(TRAINED))
    return encoded(photograph(64), pnginfo=info)


DRAWN = Claim([CREATED], TRAINED, "txt2img with the model house")


def test_a_signed_image_tells_all_of_itself(pair: Pair, signer: ManifestSigner) -> None:
    signed = signer.sign(png_with(), "image/png", DRAWN)
    found = inspect(signed, pair.certificate)
    assert (found["media_type"], found["digital_source_type"], found["parameters"]) == ("image/png", TRAINED, "a cat")
    manifest = found["c2pa"]
    assert (manifest["state"], manifest["is_ours"], manifest["problems"]) == ("valid", True, [])
    assert manifest["common_name"] == "Photogram server" and manifest["claim_generator"].startswith("Photogram")
    assert manifest["actions"] == [
        {"action": CREATED, "digital_source_type": TRAINED, "description": "txt2img with the model house"}
    ]
    assert Image.open(BytesIO(signed)).tobytes() == Image.open(BytesIO(png_with())).tobytes()
    assert read_texts(signed) == ("a cat", {}), "neither XMP nor the manifest is one of the texts"


def test_somebody_elses_image_is_untrusted(signer: ManifestSigner) -> None:
    signed = signer.sign(png_with(), "image/png", DRAWN)
    for certificate in (b"", make_pair().certificate):
        manifest = inspect(signed, certificate)["c2pa"]
        assert (manifest["state"], manifest["is_ours"]) == ("untrusted", False)


def test_a_changed_image_is_tampered_with(pair: Pair, signer: ManifestSigner) -> None:
    signed = signer.sign(encoded(photograph(64), "WEBP", quality=90), "image/webp", DRAWN)
    changed = bytearray(signed)
    changed[200] ^= 1
    manifest = inspect(bytes(changed), pair.certificate)["c2pa"]
    assert (manifest["state"], manifest["is_ours"]) == ("tampered", False)
    assert "assertion.dataHash.mismatch" in manifest["problems"]


def test_a_manifest_that_is_cut_off_is_unreadable(pair: Pair, signer: ManifestSigner) -> None:
    signed = signer.sign(encoded(photograph(64), "WEBP"), "image/webp", DRAWN)
    at = signed.index(b"jumb")
    manifest = inspect(signed[:at] + b"jumc" + signed[at + 4 :], pair.certificate)["c2pa"]
    assert manifest["state"] == "unreadable" and manifest["problems"]


def test_re_encoding_removes_the_manifest_and_leaves_the_watermark(pair: Pair, signer: ManifestSigner) -> None:
    image = embed(photograph(512), 0x0BADCAFE)
    signed = signer.sign(encoded(image), "image/png", Claim([CREATED, WATERMARKED], TRAINED))
    assert inspect(signed, pair.certificate)["watermark"]["id"] == "0badcafe"
    again = encoded(Image.open(BytesIO(signed)).convert("RGB"), "JPEG", quality=75)
    found = inspect(again, pair.certificate)
    assert found["c2pa"] is None and found["watermark"]["id"] == "0badcafe"


@pytest.mark.parametrize(("name", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_an_edit_names_what_it_was_made_from(pair: Pair, signer: ManifestSigner, name: str, media_type: str) -> None:
    first = signer.sign(png_with(), "image/png", DRAWN)
    claim = Claim([EDITED], COMPOSITE, parent=Parent("image:1", first))
    manifest = inspect(signer.sign(encoded(photograph(64), name), media_type, claim), pair.certificate)["c2pa"]
    assert manifest["state"] == "valid" and manifest["ingredients"] == ["image:1"]
    assert [each["action"] for each in manifest["actions"]] == ["c2pa.opened", EDITED]


def test_an_upload_is_named_and_not_read(pair: Pair, signer: ManifestSigner) -> None:
    claim = Claim([EDITED], COMPOSITE, parent=Parent("input:abc"))
    manifest = inspect(signer.sign(png_with(), "image/png", claim), pair.certificate)["c2pa"]
    assert (manifest["state"], manifest["ingredients"]) == ("valid", ["input:abc"])


def test_a_manifest_grows_little_with_every_edit(signer: ManifestSigner) -> None:
    sizes, png = [], signer.sign(png_with(), "image/png", DRAWN)
    for _ in range(4):
        sizes.append(manifest_bytes(png))
        png = signer.sign(png_with(), "image/png", Claim([TRANSCODED], parent=Parent("image:1", png)))
    assert all(3000 < later - earlier < 6000 for earlier, later in pairwise(sizes))
    assert manifest_bytes(png_with()) == 0


def test_what_cannot_sign_says_why(pair: Pair) -> None:
    assert ManifestSigner(pair.certificate, pair.key).problem() is None
    wrong = ManifestSigner(pair.certificate, make_pair().key).problem()
    assert wrong == "the key is not that of the certificate"
    assert "certificate" in (ManifestSigner(b"no certificate", pair.key).problem() or "")
    with pytest.raises(SigningFailed):
        ManifestSigner(pair.certificate, b"no key")


def test_a_certificate_that_has_expired_does_not_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    monkeypatch.setattr("models.provenance.certificates.VALID_FOR", timedelta(minutes=30))  # it began an hour ago
    old = make_pair()
    signer = ManifestSigner(old.certificate, old.key)
    assert "not valid" in (signer.problem() or "")
    with pytest.raises(SigningFailed):
        signer.sign(png_with(), "image/png", DRAWN)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"text", png_with()[:300]])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        inspect(data)


@pytest.mark.parametrize(
    ("xmp", "told"),
    [
        (packet(COMPOSITE), COMPOSITE),
        (
            '<rdf:Description Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/print"/>',
            "print",
        ),
        ("<x>DigitalSourceType</x>", None),
        ("DigitalSourceType " * 50_000, None),
        ("", None),
    ],
)
def test_the_digital_source_type_is_read(xmp: str, told: str | None) -> None:
    image = Image.open(BytesIO(encoded(Image.new("RGB", (2, 2)), "WEBP", xmp=xmp.encode())))
    assert source_type(image) == told

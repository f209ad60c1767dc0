"""Signing images with C2PA manifests (C2PA Technical Specification 2.2) through the library c2pa.

The signature covers all bytes of the file but the manifest itself, so that it must be made last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from typing import Any

import c2pa
from PIL import Image

from models.errors import PhotogramError
from models.media.iptc import TRAINED, VOCABULARY
from models.media.png_chunks import chunks

CREATED, OPENED, EDITED = "c2pa.created", "c2pa.opened", "c2pa.edited"
TRANSCODED, CROPPED, WATERMARKED = "c2pa.transcoded", "c2pa.cropped", "c2pa.watermarked.unbound"

_PARENT = "parent"
_SETTINGS: Mapping[str, Any] = {
    # With thumbnails and a check after signing, one image takes 60 to 90 ms and 400 KB.
    "verify": {"verify_after_sign": False, "verify_after_reading": False},
    "builder": {"thumbnail": {"enabled": False}},
}
_UNTRUSTED = "signingCredential.untrusted"


class SigningFailed(PhotogramError):
    """The image could not be signed; the message says why."""


@dataclass(frozen=True)
class Parent:
    """The image that another one was made from."""

    title: str
    png: bytes | None = None
    """Its PNG file, if this server wrote it: its manifest then becomes a part of the new one. Files from elsewhere are
    named only, since the library would parse them here."""


@dataclass(frozen=True)
class Claim:
    """What a manifest says."""

    actions: Sequence[str]
    """In order; :data:`OPENED` is added in front if there is a parent."""
    source_type: str | None = None
    """IPTC's digital source type, for :data:`CREATED` and :data:`EDITED`."""
    description: str | None = None
    """What was done, for the same actions."""
    parent: Parent | None = None


class ManifestSigner:
    """Signs with one certificate and one key; its methods may be called from several threads.

    Args:
        certificate: the chain as PEM text, the certificate that signs first.
        key: the private key of that certificate as PEM text, for ECDSA on P-256.

    Raises:
        SigningFailed: one of them cannot be read.
    """

    def __init__(self, certificate: bytes, key: bytes) -> None:
        try:
            info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, certificate, key, None)
            self._context = c2pa.Context.from_dict(dict(_SETTINGS), c2pa.Signer.from_info(info))
        except (c2pa.C2paError, ValueError, TypeError) as error:
            raise SigningFailed(_reason(error)) from error

    def sign(self, data: bytes, media_type: str, claim: Claim) -> bytes:
        """The file ``data`` (PNG, JPEG or WebP) with a manifest that says ``claim``.

        Raises:
            SigningFailed: the certificate has expired, or the library refuses the file.
        """
        signed = BytesIO()
        try:
            with c2pa.Builder(_manifest(media_type, claim), self._context) as builder:
                if claim.parent is not None and claim.parent.png is not None:
                    builder.add_ingredient(_ingredient(claim.parent), "image/png", BytesIO(claim.parent.png))
                builder.sign(media_type, BytesIO(data), signed)
        except c2pa.C2paError as error:
            raise SigningFailed(_reason(error)) from error
        return signed.getvalue()

    def problem(self) -> str | None:
        """Why nothing can be signed now, found by signing a tiny image and reading it; ``None`` if it works."""
        try:
            signed = self.sign(_tiny_png(), "image/png", Claim([CREATED], TRAINED))
            with c2pa.Reader("image/png", BytesIO(signed)) as reader:
                state, results = reader.get_validation_state(), reader.get_validation_results() or {}
        except (SigningFailed, c2pa.C2paError) as error:
            return _reason(error)
        failures = [each["code"] for each in results.get("activeManifest", {}).get("failure", ())]
        found = [code for code in failures if code != _UNTRUSTED]
        if "claimSignature.mismatch" in found:
            return "the key is not that of the certificate"
        return None if state in ("Valid", "Trusted") else f"signatures are not valid: {', '.join(found)}"


def manifest_bytes(png: bytes) -> int:
    """The size of the C2PA manifest in a PNG file; 0 if it carries none."""
    return sum(len(chunk.content) for chunk in chunks(png, [b"caBX"]))


def _manifest(media_type: str, claim: Claim) -> str:
    actions = [_action(name, claim) for name in claim.actions]
    ingredients = []
    if claim.parent is not None:
        actions.insert(0, {"action": OPENED, "parameters": {"ingredientIds": [_PARENT]}})
        ingredients = [_ingredient(claim.parent)] if claim.parent.png is None else []
    return json.dumps({
        "claim_generator_info": [_generator()],
        "format": media_type,
        "ingredients": ingredients,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    })  # fmt: skip


def _action(name: str, claim: Claim) -> dict[str, Any]:
    action: dict[str, Any] = {"action": name, "softwareAgent": _generator()}
    if name in (CREATED, EDITED):
        if claim.source_type is not None:
            action["digitalSourceType"] = VOCABULARY + claim.source_type
        if claim.description is not None:
            action["description"] = claim.description
    return action


def _ingredient(parent: Parent) -> dict[str, str]:
    return {"title": parent.title, "relationship": "parentOf", "label": _PARENT}


@cache
def _generator() -> dict[str, str]:
    try:
        return {"name": "Photogram", "version": version("photogram-server")}
    except PackageNotFoundError:  # a checkout that is not installed
        return {"name": "Photogram"}


@cache
def _tiny_png() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")
    return buffer.getvalue()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]

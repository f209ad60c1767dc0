"""Reading what an image file says of where it comes from: IPTC, C2PA, the watermark and A1111's text.

The library c2pa and the decoders are native code, and the files come from anywhere. So this module is also a program:
``python -m models.provenance.reading`` limits its own memory and time, reads one file and writes what it found, and a
file that crashes it harms nobody else.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterable
from io import BytesIO
from typing import Any, BinaryIO

import c2pa
from PIL import Image

from models.errors import UnreadableImage
from models.media.images import FORMATS, MEDIA_TYPES, decode, measure
from models.media.iptc import VOCABULARY, source_type
from models.media.png import read_texts
from models.provenance import watermark

MEMORY_MAX_BYTES = 3 << 30
CPU_MAX_S = 20
TEXT_MAX_CHARS = 1 << 16
_LIST_MAX = 32
_VALUE_MAX_CHARS = 300
_HEADER_MAX_BYTES = 1 << 18

VALID, UNTRUSTED, TAMPERED, UNREADABLE = "valid", "untrusted", "tampered", "unreadable"
STATES = (VALID, UNTRUSTED, TAMPERED, UNREADABLE)
"""Of a C2PA manifest: the file is as it was signed, by a signer that the server's own certificates vouch for, or by
another one; the file or the manifest was changed since; or the manifest cannot be read."""


def inspect(data: bytes, certificate: bytes = b"") -> dict[str, Any]:
    """What the image ``data`` carries, JSON-ready; ``service.api.native.provenance`` has the fields.

    Args:
        certificate: the chain of this server as PEM text, whose images are its own.

    Raises:
        UnreadableImage: it is not an image, or damaged.
    """
    measure(data)
    parameters, _ = read_texts(data)
    with Image.open(BytesIO(data), formats=FORMATS) as image:
        media_type, iptc = MEDIA_TYPES[str(image.format)], source_type(image)
    found = watermark.read(decode(data))
    return {
        "media_type": media_type,
        "digital_source_type": iptc,
        "c2pa": _manifest(data, media_type, certificate.decode("ascii", "replace")),
        "watermark": None if found is None else {"id": f"{found.mark:08x}", "confidence": round(found.confidence, 3)},
        "parameters": parameters[:TEXT_MAX_CHARS],
    }


def _manifest(data: bytes, media_type: str, certificate: str) -> dict[str, Any] | None:
    """What the C2PA manifest says; ``None`` if there is none, or not in files of this type."""
    settings: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    if certificate:
        settings["trust"] = {"trust_anchors": certificate}
    try:
        with c2pa.Reader(media_type, BytesIO(data), context=c2pa.Context.from_dict(settings)) as reader:
            return _told(reader, reader.get_active_manifest() or {}, certificate)
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return None
    except c2pa.C2paError as error:
        return _told_nothing(str(error))


def _told(reader: c2pa.Reader, manifest: dict[str, Any], certificate: str) -> dict[str, Any]:
    state = {"Trusted": VALID, "Valid": UNTRUSTED}.get(str(reader.get_validation_state()), TAMPERED)
    results = reader.get_validation_results() or {}
    failures = results.get("activeManifest", {}).get("failure", ())
    signature = manifest.get("signature_info", {})
    ours = bool(certificate) and str(signature.get("cert_serial_number")) == _serial(certificate)
    return {
        "state": state,
        "is_ours": state == VALID and ours,
        "issuer": _short(signature.get("issuer")),
        "common_name": _short(signature.get("common_name")),
        "claim_generator": _short(_generator(manifest.get("claim_generator_info") or ())),
        "actions": [_action(each) for each in _actions(manifest)],
        "ingredients": [_short(each.get("title")) for each in manifest.get("ingredients", ())[:_LIST_MAX]],
        "problems": [_short(each.get("code")) for each in failures[:_LIST_MAX]],
    }


def _told_nothing(reason: str) -> dict[str, Any]:
    return {"state": UNREADABLE, "is_ours": False, "issuer": None, "common_name": None, "claim_generator": None,
            "actions": [], "ingredients": [], "problems": [_short(" ".join(reason.split()))]}  # fmt: skip


def _generator(infos: Iterable[dict[str, Any]]) -> str | None:
    return next((f"{info.get('name', '')} {info.get('version', '')}".strip() for info in infos), None)


def _actions(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    assertions = manifest.get("assertions", ())
    lists = [
        each["data"].get("actions", ()) for each in assertions if str(each.get("label")).startswith("c2pa.actions")
    ]
    return [action for actions in lists for action in actions][:_LIST_MAX]


def _action(action: dict[str, Any]) -> dict[str, Any]:
    kind = action.get("digitalSourceType")
    return {
        "action": _short(action.get("action")),
        "digital_source_type": _short(kind.removeprefix(VOCABULARY) if isinstance(kind, str) else kind),
        "description": _short(action.get("description")),
    }


def _serial(certificate: str) -> str:
    """The serial number of the first certificate in a PEM text, as c2pa writes it."""
    from cryptography import x509

    return str(x509.load_pem_x509_certificates(certificate.encode())[0].serial_number)


def _short(value: object) -> str | None:
    return None if value is None else str(value)[:_VALUE_MAX_CHARS]


def _limit_itself() -> None:
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY_MAX_BYTES),
        (resource.RLIMIT_CPU, CPU_MAX_S),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (most, most))


def main(source: BinaryIO, target: BinaryIO) -> None:
    """Read a line with the certificate as JSON and then a file from ``source``, and write what it carries as JSON."""
    _limit_itself()
    certificate = json.loads(source.readline(_HEADER_MAX_BYTES))["certificate"]
    try:
        found: dict[str, Any] = inspect(source.read(), certificate.encode())
    except UnreadableImage as error:
        found = {"refusal": str(error)}
    target.write(json.dumps(found).encode())


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)

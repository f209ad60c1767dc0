"""What an image carries of its provenance, as `verify_provenance` returns it."""

from dataclasses import dataclass

from ._models import Payload


@dataclass(frozen=True, slots=True)
class Action:
    """Something that was done to an image, by its name in C2PA, as in `c2pa.created`."""

    action: str | None
    digital_source_type: str | None
    description: str | None

    @classmethod
    def from_payload(cls, payload: Payload) -> "Action":
        return cls(payload.get("action"), payload.get("digital_source_type"), payload.get("description"))


@dataclass(frozen=True, slots=True)
class Manifest:
    """The C2PA manifest of an image.

    `state` is `valid`, `untrusted` (unchanged, by a signer that the server does not know), `tampered` or `unreadable`;
    `is_ours` says whether the server that was asked signed the image.
    """

    state: str
    is_ours: bool
    issuer: str | None
    common_name: str | None
    claim_generator: str | None
    actions: tuple[Action, ...]
    ingredients: tuple[str | None, ...]
    problems: tuple[str | None, ...]

    @classmethod
    def from_payload(cls, payload: Payload) -> "Manifest":
        return cls(
            state=str(payload["state"]),
            is_ours=bool(payload["is_ours"]),
            issuer=payload.get("issuer"),
            common_name=payload.get("common_name"),
            claim_generator=payload.get("claim_generator"),
            actions=tuple(Action.from_payload(each) for each in payload.get("actions") or ()),
            ingredients=tuple(payload.get("ingredients") or ()),
            problems=tuple(payload.get("problems") or ()),
        )


@dataclass(frozen=True, slots=True)
class Watermark:
    """The invisible mark in the pixels: the first eight digits of an image id, and how sure the reading is, up to 1."""

    id: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """What an image carries; `digital_source_type` is IPTC's value, `parameters` is A1111's text."""

    media_type: str
    digital_source_type: str | None
    c2pa: Manifest | None
    watermark: Watermark | None
    parameters: str

    @classmethod
    def from_payload(cls, payload: Payload) -> "Provenance":
        manifest, mark = payload.get("c2pa"), payload.get("watermark")
        return cls(
            media_type=str(payload["media_type"]),
            digital_source_type=payload.get("digital_source_type"),
            c2pa=None if manifest is None else Manifest.from_payload(manifest),
            watermark=None if mark is None else Watermark(str(mark["id"]), float(mark["confidence"])),
            parameters=str(payload.get("parameters") or ""),
        )

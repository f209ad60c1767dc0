"""Finding images by what they show: what is searched for, and what is found."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from ._images import ImageSource, OnServer, bytes_of, source_of
from ._models import Job, OwnImage, Payload

_IMAGE, _INPUT = "image:", "input:"


@dataclass(frozen=True, slots=True)
class FoundImage(OwnImage):
    """An image that was found, with its cosine similarity from -1 to 1 and the prompt of its job."""

    similarity: float
    prompt: str | None

    @classmethod
    def from_payload(cls, payload: Payload) -> "FoundImage":
        prompt, own = payload.get("prompt"), OwnImage.from_payload(payload)
        return cls(
            **asdict(own), similarity=float(payload["similarity"]), prompt=None if prompt is None else str(prompt)
        )


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Images that are nearly equal: how many, and the first 50 of them."""

    count: int
    images: tuple[OwnImage, ...]

    @classmethod
    def from_payload(cls, payload: Payload) -> "DuplicateGroup":
        return cls(int(payload["count"]), tuple(OwnImage.from_payload(image) for image in payload["images"]))


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The largest groups of nearly equal images, how many groups there are, and whether all images were compared."""

    groups: tuple[DuplicateGroup, ...]
    total: int
    is_complete: bool

    @classmethod
    def from_payload(cls, payload: Payload) -> "Duplicates":
        groups = tuple(DuplicateGroup.from_payload(group) for group in payload["groups"])
        return cls(groups, int(payload["total"]), bool(payload["is_complete"]))


def check_one_given(sought: Mapping[str, object]) -> None:
    """Raise ValueError unless exactly one of the values is given."""
    if sum(value is not None for value in sought.values()) != 1:
        *names, last = sought
        raise ValueError(f"exactly one of {', '.join(names)} and {last} must be given")


def image_id_of(like: str | OnServer) -> str:
    """The id of an image of a job: the id itself, `image:<id>`, the image, or a job that has just one.

    Raises ValueError for anything else.
    """
    if isinstance(like, Job) and like.result is not None and len(like.result.images) > 1:
        raise ValueError(f"job {like.id} has {len(like.result.images)} images: give one of its result.images")
    if not isinstance(like, str | OnServer):
        raise ValueError(f"like must be an image of a job, or its id, got {type(like).__name__}")
    source = like if isinstance(like, str) else like.source
    if source.startswith(_INPUT):
        raise ValueError("like must be an image of a job, or its id: search for an upload with image")
    return source.removeprefix(_IMAGE)


def known_source(image: ImageSource, base_url: str) -> str | None:
    """The name by which the server has `image` already, or None if it must be uploaded."""
    if not isinstance(image, str | OnServer):
        return None
    source = source_of(image)
    if source.startswith((_IMAGE, _INPUT)):
        return source
    path = source.removeprefix(base_url) if source.startswith(f"{base_url}/") else ""
    folder, _, name = urlsplit(path).path.rpartition("/")
    return f"{_IMAGE}{name.partition('.')[0]}" if folder == "/images" and name else None


def encoded(image: ImageSource) -> bytes:
    """The file of an image that is uploaded; raises OSError, and ValueError for what cannot be."""
    if not isinstance(image, str | OnServer):
        return bytes_of(image)
    text = source_of(image)
    if text.lower().startswith(("http://", "https://")):
        raise ValueError("an image to search for is an image of this server or a file, and no URL of another one")
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("an image to search for is neither a source that the server has nor Base64") from None

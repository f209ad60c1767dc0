"""The images that jobs start from, as the wire has them, and the kind of job that they make."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

ImageSource: TypeAlias = str | bytes | Path
"""A URL or another source that the server knows (`input:...`, `image:...`), the bytes of an image, or its file."""


def source_of(image: ImageSource) -> str:
    """What the wire has for `image`: Base64 of bytes and files, a string as it is; raises OSError."""
    if isinstance(image, str):
        return image
    data = image.read_bytes() if isinstance(image, Path) else image
    return base64.b64encode(data).decode()


def kind_of(params: Mapping[str, object]) -> str:
    """What a request for an image is: it draws from words, over an image, or inside a mask."""
    if params.get("mask") is not None:
        return "inpaint"
    return "txt2img" if params.get("image") is None else "img2img"


def wire_params(params: Mapping[str, object]) -> dict[str, object]:
    """`params` without what was left open, every image in it as its source."""
    given = {name: value for name, value in params.items() if value is not None}
    if isinstance(given.get("mask"), str | bytes | Path):
        given["mask"] = {"image": given["mask"]}
    return {name: _wire_value(name, value) for name, value in given.items()}


def _wire_value(name: str, value: object) -> object:
    if name == "image" and isinstance(value, str | bytes | Path):
        return source_of(value)
    if isinstance(value, Mapping):
        return wire_params(value)
    return [_wire_value("", each) for each in value] if isinstance(value, list | tuple) else value

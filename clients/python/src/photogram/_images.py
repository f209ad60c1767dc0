"""The images that jobs start from: their encoding for requests, and the kind of job that they imply."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

ImageSource: TypeAlias = str | bytes | Path
"""An image: a URL or another source that the server resolves (`input:...`, `image:...`), its bytes, or its file."""


def source_of(image: ImageSource) -> str:
    """The source to send for `image`: Base64 for bytes and files, a string unchanged; raises OSError."""
    if isinstance(image, str):
        return image
    data = image.read_bytes() if isinstance(image, Path) else image
    return base64.b64encode(data).decode()


def kind_of(params: Mapping[str, object]) -> str:
    """The kind of job that the images in `params` imply: inpaint, img2img or txt2img."""
    if params.get("mask") is not None:
        return "inpaint"
    return "txt2img" if params.get("image") is None else "img2img"


def wire_params(params: Mapping[str, object]) -> dict[str, object]:
    """`params` without None, and with every image replaced by its source."""
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

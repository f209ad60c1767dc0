"""Images in requests that the gateway itself must look at: their bytes, and how large they are."""

from __future__ import annotations

from pathlib import Path

from models.catalog.upscalers import UPSCALE_FACTORS
from models.errors import FieldProblem, InvalidTicket
from models.jobs.params import UpscaleRequest
from models.jobs.sources import IMAGE, INPUT, is_url
from models.media.images import measure
from service.api.state import Gateway


def read_source(gateway: Gateway, source: str) -> bytes:
    """The image that ``source`` names, checked; blocking.

    Raises:
        InvalidTicket: it is no image, or a link, which only workers follow.
    """
    taken = gateway.jobs.take_in(UpscaleRequest(image=source))
    assert isinstance(taken, UpscaleRequest)
    path = _path(gateway, taken.image)
    if path is None:
        raise InvalidTicket([FieldProblem("image", "must be sent along, in Base64: this call follows no links")])
    return path.read_bytes()


def _path(gateway: Gateway, source: str) -> Path | None:
    if is_url(source):
        return None
    if source.startswith(INPUT):
        return gateway.inputs.path(source.removeprefix(INPUT))
    return gateway.store.path(source.removeprefix(IMAGE))


def factor_of(gateway: Gateway, source: str, wanted: tuple[int, int]) -> int:
    """How many times as wide and high the image becomes with ``wanted``, in pixels; blocking.

    Raises:
        InvalidTicket: it cannot be enlarged to that; or as :func:`read_source`.
    """
    width, height = measure(read_source(gateway, source))
    for factor in UPSCALE_FACTORS:
        if wanted == (width * factor, height * factor):
            return factor
    sizes = " or ".join(f"{width * factor} x {height * factor}" for factor in UPSCALE_FACTORS)
    raise InvalidTicket([FieldProblem("upscaling_resize_w", f"not available: this image can become {sizes} pixels")])

"""Images of requests that the gateway itself must read: their bytes and their sizes."""

from __future__ import annotations

from models.errors import ProblemCode
from models.jobs.params import UpscaleRequest
from models.jobs.sources import IMAGE, INPUT, is_url
from models.media.images import measure
from service.api.errors import invalid_field
from service.api.state import Gateway
from service.backbone.objects.protocol import StoredObject


def read_source(gateway: Gateway, source: str) -> bytes:
    """The checked image that ``source`` names. Blocking.

    Raises:
        InvalidTicket: it is not an image, or it is a URL: only workers fetch URLs.
    """
    stored = gateway.jobs.take_in(UpscaleRequest(image=source))
    assert isinstance(stored, UpscaleRequest)
    found = _find(gateway, stored.image)
    if found is None:
        message = "must be Base64: this call does not fetch URLs"
        raise invalid_field("image", message, ProblemCode.UNAVAILABLE)
    return found.read()


def _find(gateway: Gateway, source: str) -> StoredObject | None:
    if is_url(source):
        return None
    if source.startswith(INPUT):
        return gateway.stores.inputs.find(source.removeprefix(INPUT))
    return gateway.stores.images.find(source.removeprefix(IMAGE))


def scale_to(gateway: Gateway, source: str, target: tuple[int, int]) -> float:
    """The factor that enlarges the image until it covers ``target`` (width, height) in pixels, as in A1111. Blocking.

    Raises:
        InvalidTicket: as :func:`read_source`.
    """
    width, height = measure(read_source(gateway, source))
    return max(target[0] / width, target[1] / height)

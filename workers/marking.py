"""Encoding the images of jobs, marked as made by a machine as their jobs say (docs/provenance.md)."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from models.catalog.upscalers import BUILT_IN_UPSCALERS
from models.errors import StorageUnavailable
from models.jobs.params import NONE, UNMARKED, WATERMARK, DrawParams, UpscaleParams
from models.jobs.records import JobRecord
from models.jobs.sources import IMAGE, INPUT, is_url
from models.media import png
from models.media.images import FORMATS
from models.media.iptc import COMPOSITE, ENHANCED, TRAINED, source_type
from models.provenance.signing import CREATED, EDITED, WATERMARKED, Claim, Parent, manifest_bytes
from service.backbone.inputs import InputStore
from service.backbone.objects.protocol import StoredObject
from service.backbone.provenance import Signing, is_signed
from service.backbone.store import ImageStore

MANIFEST_MAX_BYTES = 1 << 18
"""The largest manifest of a parent that becomes a part of the new one: it grows by 3 KB with every edit."""


class Marking:
    """Encodes images as PNG files; the marks are those of the job, or else of the server's setting."""

    def __init__(self, signing: Signing, images: ImageStore, inputs: InputStore, usual: str) -> None:
        self._signing, self._images, self._inputs, self._usual = signing, images, inputs, usual

    def encode(self, image: Image.Image, record: JobRecord, check: Callable[[], None]) -> bytes:
        """The file of one image of the job, with its parameters, and the user's prompt if another one was drawn.

        Args:
            check: called again and again meanwhile; what it raises ends the encoding.
        """
        level = record.params.provenance or self._usual
        source = getattr(record.params, "image", None)
        parent = self._find(source)
        kind_of_source = None if level == UNMARKED else _source_type(record, source, parent)
        if level == WATERMARK:
            image = _watermarked(image, record)
        drawn, original = record.drawn_params, _original_prompt(record)
        data = png.encode(image, record.kind, drawn, original, source_type=kind_of_source, check=check)
        if not is_signed(level):
            return data
        check()
        return self._signing.sign(data, "image/png", _claim(record, level, kind_of_source, _parent(source, parent)))

    def _find(self, source: str | None) -> StoredObject | None:
        """The image that the job started from, if it is stored here."""
        if source is None or is_url(source):
            return None
        if source.startswith(INPUT):
            return self._inputs.find(source.removeprefix(INPUT))
        return self._images.find(source.removeprefix(IMAGE))


def _original_prompt(record: JobRecord) -> str | None:
    drawn, params = record.drawn_params, record.params
    if isinstance(params, DrawParams) and isinstance(drawn, DrawParams) and drawn.prompt != params.prompt:
        return params.prompt
    return None


def _watermarked(image: Image.Image, record: JobRecord) -> Image.Image:
    from models.provenance import watermark  # OpenCV takes time and memory that a worker without the mark need not

    return watermark.embed(image, int(record.image_id[:8], 16))


def _source_type(record: JobRecord, source: str | None, parent: StoredObject | None) -> str:
    """IPTC's digital source type of the image; an edit of a generated image is a generated image."""
    if source is None:
        return TRAINED
    before = None if parent is None else _read_source_type(parent)
    if before in (TRAINED, COMPOSITE):
        return before
    params = record.params
    is_resampled = isinstance(params, UpscaleParams) and params.upscaler in BUILT_IN_UPSCALERS
    return ENHANCED if is_resampled else COMPOSITE


def _read_source_type(stored: StoredObject) -> str | None:
    try:
        with stored.open() as file, Image.open(file, formats=FORMATS) as image:
            return source_type(image)
    except StorageUnavailable:
        raise
    except Exception:  # damaged bytes can make Pillow raise anything; the file may be gone too
        return None


def _parent(source: str | None, stored: StoredObject | None) -> Parent | None:
    if source is None:
        return None
    title = "an image from a URL" if is_url(source) else source
    try:
        data = stored.read() if stored is not None and source.startswith(IMAGE) else None
    except FileNotFoundError:  # removed meanwhile
        data = None
    return Parent(title, data if data and 0 < manifest_bytes(data) <= MANIFEST_MAX_BYTES else None)


def _claim(record: JobRecord, level: str, kind_of_source: str | None, parent: Parent | None) -> Claim:
    action = CREATED if parent is None else EDITED
    actions = [action, WATERMARKED] if level == WATERMARK else [action]
    model = record.params.model_name
    description = record.kind if model is None else f"{record.kind} with the model {model}"
    return Claim(actions, kind_of_source, None if record.params.metadata == NONE else description, parent)

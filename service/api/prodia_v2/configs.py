"""Which config each sort of job has, and the job's request made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from models.catalog.catalog import Catalog
from models.catalog.faces import SWAP_REFUSAL
from models.catalog.families import DRAWN_KINDS
from models.errors import FieldProblem, InvalidTicket
from models.jobs.params import FACE_RESTORE, UPSCALE, FaceRestoreRequest, JobRequest, UpscaleRequest
from service.api.prodia_v2.draw_config import DrawConfig
from service.api.prodia_v2.fields import Config, Whole
from service.api.prodia_v2.inputs import Inputs, assign
from service.api.prodia_v2.job_types import JobType, choose_upscaler

_NAME = "A filename of an `input`, or a URL, Base64, `input:<sha256>` or `image:<id>`; the one `input` if left out."


class UpscaleConfig(Config):
    """How an image is enlarged."""

    image: str | None = Field(None, description=_NAME)
    images: list[str] | None = None
    scale: Whole = Field(None, description="2 (if left out) or 4; `upscale` is another name for it.")
    upscale: Whole = None
    upscaler: str | None = Field(None, description="A name from `GET /v1/upscalers`; what the type says if left out.")

    def to_request(self, job_type: JobType, catalog: Catalog, inputs: Inputs) -> UpscaleRequest:
        """The same in our words."""
        source = _one_image(job_type, self.image, self.images, inputs)
        if self.scale is not None and self.upscale not in (None, self.scale):
            raise InvalidTicket([FieldProblem("scale", "and upscale are names of the same, and differ")])
        return UpscaleRequest(
            image=source,
            scale=self.upscale if self.scale is None else self.scale,
            upscaler=self.upscaler or choose_upscaler(job_type, catalog),
        )


class FaceRestoreConfig(Config):
    """What the faces are restored of."""

    image: str | None = Field(None, description=_NAME)
    images: list[str] | None = None

    def to_request(self, job_type: JobType, catalog: Catalog, inputs: Inputs) -> FaceRestoreRequest:
        """The same in our words."""
        return FaceRestoreRequest(image=_one_image(job_type, self.image, self.images, inputs))


def _one_image(job_type: JobType, image: str | None, images: list[str] | None, inputs: Inputs) -> str:
    sources = assign(job_type.roles, {"image": image}, images or (), inputs)
    if "image" not in sources:
        raise InvalidTicket([FieldProblem("input", f"{job_type.name} needs an image")])
    return sources["image"]


_CONFIGS: Mapping[str, type[DrawConfig | UpscaleConfig | FaceRestoreConfig]] = {
    **dict.fromkeys(DRAWN_KINDS, DrawConfig), UPSCALE: UpscaleConfig, FACE_RESTORE: FaceRestoreConfig,
}  # fmt: skip


def config_of(job_type: JobType) -> type[DrawConfig | UpscaleConfig | FaceRestoreConfig]:
    """The class of the type's config; raises :class:`InvalidTicket` if jobs of that type are never done."""
    if job_type.kind not in _CONFIGS:
        raise InvalidTicket([FieldProblem("type", SWAP_REFUSAL)])
    return _CONFIGS[job_type.kind]


def translate(job_type: JobType, config: Mapping[str, Any], catalog: Catalog, inputs: Inputs) -> JobRequest:
    """The request that ``config`` makes; raises :class:`InvalidTicket` if it makes none."""
    return config_of(job_type).read(config).to_request(job_type, catalog, inputs)

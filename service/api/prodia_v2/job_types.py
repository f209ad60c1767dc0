"""The job types of Prodia's API v2: the job kind and the model of each, or the reason why it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.catalog.catalog import HOUSE, Catalog, ModelSpec
from models.catalog.families import DRAWN_KINDS, FLUX, IMG2IMG, INPAINT, SDXL, STABLE_DIFFUSION, TXT2IMG
from models.catalog.upscalers import upscaler_problem
from models.errors import FieldProblem, InvalidTicket, ProblemCode, quoted
from models.jobs.kinds import find_kind
from models.jobs.params import FACE_RESTORE, FACE_SWAP, UPSCALE
from service.api.errors import invalid_field

PING = "ping"
"""The kind of ``inference.ping.v1``, which only checks that a job would be accepted."""


@dataclass(frozen=True, kw_only=True)
class JobType:
    """A job type that Photogram knows."""

    name: str
    kind: str
    """The name of a registered kind, or ``PING``."""
    family: str | None = None
    """The family of the model; ``None`` allows every ``model`` that a request names."""
    default_model: str = ""
    """The name or alias of the model that is used by default, if the catalog has it and it is of the family."""
    upscalers: tuple[str, ...] = ()
    """The first of these that has its weights enlarges the image by default."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of the images that are sent along, in their order."""
        return _ROLES.get(self.kind, ())


_ROLES: Mapping[str, tuple[str, ...]] = {
    IMG2IMG: ("image",), INPAINT: ("image", "mask"), UPSCALE: ("image",), FACE_RESTORE: ("image",),
    FACE_SWAP: ("source", "target"),
}  # fmt: skip
_OPERATIONS = {TXT2IMG: "txt2img", IMG2IMG: "img2img", INPAINT: "inpainting"}
_REAL_ESRGAN = "R-ESRGAN 4x+"


def _draw_types(
    stem: str, version: str, kinds: tuple[str, ...], family: str | None, model: str = ""
) -> Iterator[JobType]:
    for kind in kinds:
        name = f"inference.{stem}.{_OPERATIONS[kind]}.{version}"
        yield JobType(name=name, kind=kind, family=family, default_model=model)


def _all() -> Iterator[JobType]:
    yield JobType(name="inference.ping.v1", kind=PING)
    yield from _draw_types("photogram", "v1", DRAWN_KINDS, None)
    yield from _draw_types(HOUSE, "v1", DRAWN_KINDS, STABLE_DIFFUSION, HOUSE)
    yield from _draw_types("sd15", "v1", DRAWN_KINDS, STABLE_DIFFUSION, "sd15")
    yield from _draw_types("sdxl", "v1", DRAWN_KINDS, SDXL, "sdxl")
    yield from _draw_types("flux.schnell", "v1", (TXT2IMG,), FLUX, "flux-schnell")
    yield from _draw_types("flux.schnell", "v2", (TXT2IMG,), FLUX, "flux-schnell")
    yield from _draw_types("flux-fast.schnell", "v2", (TXT2IMG, IMG2IMG), FLUX, "flux-schnell")
    yield from _draw_types("flux.dev", "v1", (TXT2IMG,), FLUX, "flux-dev")
    yield from _draw_types("flux.dev", "v2", (TXT2IMG, IMG2IMG), FLUX, "flux-dev")
    yield JobType(name="inference.upscale.v1", kind=UPSCALE, upscalers=(_REAL_ESRGAN, "Lanczos"))
    yield JobType(name="inference.resrgan.upscale.v1", kind=UPSCALE, upscalers=(_REAL_ESRGAN,))
    yield JobType(name="inference.facerestore.upscale.v1", kind=FACE_RESTORE)
    yield JobType(name="inference.facerestore.v1", kind=FACE_RESTORE)
    yield JobType(name="inference.faceswap.v1", kind=FACE_SWAP)


JOB_TYPES: Mapping[str, JobType] = MappingProxyType({each.name: each for each in _all()})
"""By name."""

_CLOSED_WEIGHTS = "only its maker has the weights of this model"
_NO_PIPELINE = "Photogram has no pipeline for this model"
_NO_VIDEO = "Photogram draws images, not videos"
_NO_SEGMENTATION = "Photogram has no segmentation model"
REFUSED_OPERATIONS: Mapping[str, str] = MappingProxyType({
    "txt2vid": _NO_VIDEO, "img2vid": _NO_VIDEO, "vid2vid": _NO_VIDEO,
    "txt2vec": "Photogram generates raster images, not vector graphics", "segment": _NO_SEGMENTATION,
})  # fmt: skip
"""Why operations of Prodia are refused; an operation is the second last word of a type's name."""
REFUSED_FAMILIES: Mapping[str, str] = MappingProxyType({
    "flux.pro": _CLOSED_WEIGHTS, "flux-kontext": _CLOSED_WEIGHTS, "gemini": _CLOSED_WEIGHTS,
    "nano-banana": _CLOSED_WEIGHTS, "recraft": _CLOSED_WEIGHTS, "seedream": _CLOSED_WEIGHTS,
    "flux-2": _NO_PIPELINE, "flux-control": _NO_PIPELINE,
    "flux-fast.dev": _NO_PIPELINE, "hypir": _NO_PIPELINE, "qwen": _NO_PIPELINE, "mask-background": _NO_SEGMENTATION,
    "remove-background": _NO_SEGMENTATION,
})  # fmt: skip
"""Why models of Prodia are refused, by what follows ``inference.`` in a type's name."""


def find_job_type(name: str) -> JobType:
    """The job type of that name.

    Raises:
        InvalidTicket: there is none; the message lists all types, or says why Photogram does not have this one.
    """
    found = JOB_TYPES.get(name)
    if found is None:
        raise _refusal(name)
    return found


def _refusal(name: str) -> InvalidTicket:
    words = name.split(".")
    reasons = [REFUSED_OPERATIONS.get(words[-2])] if len(words) > 2 else []
    reasons += [why for family, why in REFUSED_FAMILIES.items() if name.startswith(f"inference.{family}")]
    reason = next(filter(None, reasons), None)
    if reason is not None:
        return invalid_field("type", f"{name[:100]} is not available: {reason}", ProblemCode.UNAVAILABLE)
    shown = [each.removeprefix("inference.") for each in JOB_TYPES]
    message = f"unknown job type {quoted(name)}; there are, each after 'inference.': {', '.join(shown)}"
    return InvalidTicket([FieldProblem("type", message, ProblemCode.UNKNOWN_NAME, allowed=tuple(JOB_TYPES))])


def choose_model(job_type: JobType, name: str | None, catalog: Catalog) -> str | None:
    """The model for a job of that type; ``None`` is the catalog's default.

    Args:
        name: the model that the request names, if any.

    Raises:
        InvalidTicket: the catalog has no model of the family, or ``name`` is of another family.
    """
    if job_type.family is None:
        return name
    if name is not None:
        return _checked_model(job_type, name, catalog)
    preferred = (catalog.resolve(job_type.default_model), catalog.resolve(None))
    named = (spec for spec in preferred if spec is not None and spec.family == job_type.family)
    found = next(named, None) or first_of(job_type.family, catalog)
    if found is None:
        raise invalid_field("type", missing_family(job_type.family), ProblemCode.UNAVAILABLE)
    return found.name


def _checked_model(job_type: JobType, name: str, catalog: Catalog) -> str:
    found = catalog.resolve(name)
    if found is not None and found.family != job_type.family:
        message = f"{found.name} is of the family {found.family}, and {job_type.name} needs {job_type.family}"
        raise invalid_field("model", message, ProblemCode.NOT_APPLICABLE)
    return name


def missing_family(family: str) -> str:
    """The message that the catalog has no model of ``family``."""
    return f"not available: no model of the family {family} is in the catalog"


def first_of(family: str, catalog: Catalog) -> ModelSpec | None:
    """The catalog's first model of that family; the built-in model comes last."""
    ordered = sorted(catalog.values(), key=lambda spec: spec.name == HOUSE)
    return next((spec for spec in ordered if spec.family == family), None)


def choose_upscaler(job_type: JobType, catalog: Catalog) -> str:
    """The first of the type's upscalers that can be used.

    If none can, it is the first one: then the check of the request says what is missing.
    """
    usable = (name for name in job_type.upscalers if upscaler_problem(name, catalog.upscalers) is None)
    return next(usable, job_type.upscalers[0])


def type_problem(job_type: JobType, catalog: Catalog) -> str | None:
    """Why jobs of that type cannot be processed with this catalog; ``None`` if they can."""
    if job_type.kind == PING:
        return None
    if job_type.kind == UPSCALE:
        refusal = upscaler_problem(choose_upscaler(job_type, catalog), catalog.upscalers)
        return None if refusal is None else refusal.message
    refusal_of_kind = find_kind(job_type.kind).problem(catalog)
    if refusal_of_kind is not None:
        return refusal_of_kind
    if job_type.family is None or first_of(job_type.family, catalog) is not None:
        return None
    return missing_family(job_type.family)

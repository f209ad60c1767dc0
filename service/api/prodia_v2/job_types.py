"""The job types of Prodia v2: what each one does here, and with which models of the catalog; or why it does nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.catalog.catalog import HOUSE, Catalog, ModelSpec
from models.catalog.families import DRAWN_KINDS, FLUX, IMG2IMG, INPAINT, SDXL, STABLE_DIFFUSION, TXT2IMG
from models.catalog.upscalers import upscaler_problem
from models.errors import FieldProblem, InvalidTicket
from models.jobs.kinds import find_kind
from models.jobs.params import FACE_RESTORE, FACE_SWAP, UPSCALE

PING = "ping"
"""What ``inference.ping.v1`` does: nothing, but as a job would be taken."""


@dataclass(frozen=True, kw_only=True)
class JobType:
    """One job type that this server knows."""

    name: str
    kind: str
    """The name of a registered kind, or ``PING``."""
    family: str | None = None
    """The family whose models draw it; ``None`` leaves that to the request's ``model``."""
    usual: str = ""
    """The model that draws it if the catalog has it under this name or alias, and of the family."""
    upscalers: tuple[str, ...] = ()
    """Those that enlarge, the first one that has its weights."""

    @property
    def roles(self) -> tuple[str, ...]:
        """What the images that come along mean, in their order."""
        return _ROLES.get(self.kind, ())


_ROLES: Mapping[str, tuple[str, ...]] = {
    IMG2IMG: ("image",), INPAINT: ("image", "mask"), UPSCALE: ("image",), FACE_RESTORE: ("image",),
    FACE_SWAP: ("source", "target"),
}  # fmt: skip
_OPERATIONS = {TXT2IMG: "txt2img", IMG2IMG: "img2img", INPAINT: "inpainting"}
_REAL_ESRGAN = "R-ESRGAN 4x+"


def _drawn(stem: str, version: str, kinds: tuple[str, ...], family: str | None, usual: str = "") -> Iterator[JobType]:
    for kind in kinds:
        yield JobType(name=f"inference.{stem}.{_OPERATIONS[kind]}.{version}", kind=kind, family=family, usual=usual)


def _all() -> Iterator[JobType]:
    yield JobType(name="inference.ping.v1", kind=PING)
    yield from _drawn("photogram", "v1", DRAWN_KINDS, None)
    yield from _drawn(HOUSE, "v1", DRAWN_KINDS, STABLE_DIFFUSION, HOUSE)
    yield from _drawn("sd15", "v1", DRAWN_KINDS, STABLE_DIFFUSION, "sd15")
    yield from _drawn("sdxl", "v1", DRAWN_KINDS, SDXL, "sdxl")
    yield from _drawn("flux.schnell", "v1", (TXT2IMG,), FLUX, "flux-schnell")
    yield from _drawn("flux.schnell", "v2", (TXT2IMG,), FLUX, "flux-schnell")
    yield from _drawn("flux-fast.schnell", "v2", (TXT2IMG, IMG2IMG), FLUX, "flux-schnell")
    yield from _drawn("flux.dev", "v1", (TXT2IMG,), FLUX, "flux-dev")
    yield from _drawn("flux.dev", "v2", (TXT2IMG, IMG2IMG), FLUX, "flux-dev")
    yield JobType(name="inference.upscale.v1", kind=UPSCALE, upscalers=(_REAL_ESRGAN, "Lanczos"))
    yield JobType(name="inference.resrgan.upscale.v1", kind=UPSCALE, upscalers=(_REAL_ESRGAN,))
    yield JobType(name="inference.facerestore.upscale.v1", kind=FACE_RESTORE)
    yield JobType(name="inference.facerestore.v1", kind=FACE_RESTORE)
    yield JobType(name="inference.faceswap.v1", kind=FACE_SWAP)


JOB_TYPES: Mapping[str, JobType] = MappingProxyType({each.name: each for each in _all()})
"""By name."""

_NOT_HERE = "only its maker has the weights of this model"
_NO_PIPELINE = "Photogram has no pipeline for this model"
_NO_VIDEO = "Photogram draws images, not videos"
_NO_CUT = "Photogram has nothing that finds out what belongs to a thing in an image"
REFUSED_OPERATIONS: Mapping[str, str] = MappingProxyType({
    "txt2vid": _NO_VIDEO, "img2vid": _NO_VIDEO, "vid2vid": _NO_VIDEO,
    "txt2vec": "Photogram draws pixels, not vector graphics", "segment": _NO_CUT,
})  # fmt: skip
"""Operations, the last word but one of a type's name, that no type here has."""
REFUSED_FAMILIES: Mapping[str, str] = MappingProxyType({
    "flux.pro": _NOT_HERE, "flux-kontext": _NOT_HERE, "gemini": _NOT_HERE, "nano-banana": _NOT_HERE,
    "recraft": _NOT_HERE, "seedream": _NOT_HERE, "flux-2": _NO_PIPELINE, "flux-control": _NO_PIPELINE,
    "flux-fast.dev": _NO_PIPELINE, "hypir": _NO_PIPELINE, "qwen": _NO_PIPELINE, "mask-background": _NO_CUT,
    "remove-background": _NO_CUT,
})  # fmt: skip
"""Beginnings of types' names, behind ``inference.``, that Prodia has and Photogram has not."""


def find_job_type(name: str) -> JobType:
    """The job type of that name.

    Raises:
        InvalidTicket: there is none; the message names all that there are, or says why Photogram has not this one.
    """
    found = JOB_TYPES.get(name)
    if found is None:
        raise InvalidTicket([FieldProblem("type", _refusal(name))])
    return found


def _refusal(name: str) -> str:
    words = name.split(".")
    reasons = [REFUSED_OPERATIONS.get(words[-2])] if len(words) > 2 else []
    reasons += [why for family, why in REFUSED_FAMILIES.items() if name.startswith(f"inference.{family}")]
    reason = next(filter(None, reasons), None)
    if reason is not None:
        return f"{name[:100]} is not available: {reason}"
    shown = [each.removeprefix("inference.") for each in JOB_TYPES]
    return f"unknown job type {name[:100]!r}; known are, each behind 'inference.': {', '.join(shown)}"


def choose_model(job_type: JobType, asked: str | None, catalog: Catalog) -> str | None:
    """The name of the model that draws a job of that type; ``None`` is the catalog's default.

    Raises:
        InvalidTicket: the catalog has none of the family, or ``asked`` is of another one.
    """
    if job_type.family is None:
        return asked
    if asked is not None:
        return _asked_model(job_type, asked, catalog)
    usual, default = catalog.resolve(job_type.usual), catalog.resolve(None)
    named = (spec for spec in (usual, default) if spec is not None and spec.family == job_type.family)
    found = next(named, None) or first_of(job_type.family, catalog)
    if found is None:
        raise InvalidTicket([FieldProblem("type", missing_family(job_type.family))])
    return found.name


def _asked_model(job_type: JobType, asked: str, catalog: Catalog) -> str:
    found = catalog.resolve(asked)
    if found is not None and found.family != job_type.family:
        problem = f"{found.name} is of the family {found.family}, and {job_type.name} draws with {job_type.family}"
        raise InvalidTicket([FieldProblem("model", problem)])
    return asked


def missing_family(family: str) -> str:
    """That the catalog has nothing to draw with."""
    return f"not available: no model of the family {family} is in the catalog"


def first_of(family: str, catalog: Catalog) -> ModelSpec | None:
    """The catalog's first model of that family; the built-in one only if there is no other."""
    ordered = sorted(catalog.values(), key=lambda spec: spec.name == HOUSE)
    return next((spec for spec in ordered if spec.family == family), None)


def choose_upscaler(job_type: JobType, catalog: Catalog) -> str:
    """The first of the type's upscalers that can be used; the first of all if none can, so that the reason is told."""
    usable = (name for name in job_type.upscalers if upscaler_problem(name, catalog.upscalers) is None)
    return next(usable, job_type.upscalers[0])


def type_problem(job_type: JobType, catalog: Catalog) -> str | None:
    """Why jobs of that type cannot be done with this catalog; ``None`` if they can."""
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

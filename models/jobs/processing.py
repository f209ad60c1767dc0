"""Completing requests that process one image: enlarging it, or restoring its faces."""

from __future__ import annotations

from typing import NoReturn

from models.catalog.catalog import Catalog
from models.catalog.faces import SWAP_REFUSAL, restore_problem
from models.catalog.upscalers import UPSCALE_DEFAULT, upscaler_problem
from models.errors import FieldProblem, InvalidTicket, Problem, ProblemCode
from models.jobs.checks import Problems, upscaler_name, value_or
from models.jobs.params import (
    FaceRestoreParams,
    FaceRestoreRequest,
    FaceSwapRequest,
    UpscaleParams,
    UpscaleRequest,
)

UPSCALER = "Lanczos"
"""The upscaler if the request leaves it open."""


def complete_upscale(request: UpscaleRequest, catalog: Catalog, problems: Problems) -> UpscaleParams:
    upscaler = value_or(request.upscaler, UPSCALER)
    problems.note("upscaler", upscaler_problem(upscaler, catalog.upscalers))
    return UpscaleParams(
        image=request.image,
        scale=_plain(value_or(request.scale, UPSCALE_DEFAULT)),
        upscaler=upscaler_name(upscaler, catalog),
        priority=value_or(request.priority, 0),
        metadata=value_or(request.metadata, UpscaleParams.metadata),
        provenance=value_or(request.provenance, UpscaleParams.provenance),
    )


def _plain(factor: float) -> float:
    return int(factor) if float(factor).is_integer() else factor


def complete_face_restore(request: FaceRestoreRequest, catalog: Catalog, problems: Problems) -> FaceRestoreParams:
    refusal = restore_problem(catalog.faces)
    problems.note("kind", None if refusal is None else Problem(refusal, ProblemCode.UNAVAILABLE))
    return FaceRestoreParams(
        image=request.image,
        priority=value_or(request.priority, 0),
        metadata=value_or(request.metadata, FaceRestoreParams.metadata),
        provenance=value_or(request.provenance, FaceRestoreParams.provenance),
    )


def refuse_face_swap(request: FaceSwapRequest, catalog: Catalog, problems: Problems) -> NoReturn:
    """Raise :class:`InvalidTicket`: no server swaps faces."""
    raise InvalidTicket([FieldProblem.of("kind", Problem(SWAP_REFUSAL, ProblemCode.UNAVAILABLE))])

"""From a tool call to a job that can be posted: merged with the job to change, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.catalog.catalog import Catalog
from models.catalog.families import DRAWN_KINDS, IMG2IMG, INPAINT, TXT2IMG
from models.errors import FieldProblem, InvalidTicket, ProblemCode
from models.jobs.params import UPSCALE
from models.jobs.records import new_job_id
from models.jobs.tickets import open_ticket
from service.api.assist.tools import CREATE, EDIT, ENLARGE, NO_STYLE, image_index, image_name, job_fields
from service.api.errors import invalid_field, renamed_problems
from service.api.job_bodies import parse_job

Job = dict[str, Any]
"""``kind`` and ``params``, the body of ``POST /v1/jobs``."""

_KINDS = {CREATE: TXT2IMG, EDIT: IMG2IMG, ENLARGE: UPSCALE}
_IMAGE_FIELDS = ("image", "strength", "resize_mode", "mask")
"""Fields without effect on txt2img."""


@dataclass(frozen=True, kw_only=True)
class AssistRequest:
    """What the client sent beside the message."""

    catalog: Catalog
    images: tuple[str, ...] = ()
    """Sources of stored images; the image of the job to change is one of them."""
    job: Job | None = None
    """The job to change."""

    def image(self, name: object) -> str | None:
        """The source of the image called ``name`` in the conversation; ``None`` if there is none."""
        index = image_index(name) if isinstance(name, str) else None
        return None if index is None or index >= len(self.images) else self.images[index]


def propose(name: str, arguments: Mapping[str, Any], context: AssistRequest) -> Job:
    """The job that a call of the tool ``name`` proposes.

    Args:
        name: ``CREATE``, ``EDIT`` or ``ENLARGE``.

    Raises:
        InvalidTicket: the server cannot process the job; the problems name the arguments of the tool.
    """
    unknown = [field for field in arguments if field not in job_fields(name)]
    if unknown:
        message = "there is no such argument"
        raise InvalidTicket([FieldProblem(field, message, ProblemCode.UNKNOWN_FIELD) for field in unknown])
    given = {field: value for field, value in arguments.items() if value is not None}
    kind, base = _start(name, context)
    params = _merged(base, given)
    if name != CREATE:
        params["image"] = _image(given.get("image"), base.get("image"), context)
        if kind == INPAINT and params["image"] != base["image"]:
            kind = IMG2IMG
            params.pop("mask", None)  # it was made for the other image
    return _checked({"kind": kind, "params": params}, context.catalog)


def _start(name: str, context: AssistRequest) -> tuple[str, Mapping[str, Any]]:
    """The kind of the proposed job, and the parameters that it keeps from the job to change."""
    kind, job = _KINDS[name], context.job
    if job is None or (kind in DRAWN_KINDS) is not (job["kind"] in DRAWN_KINDS):
        return kind, {}
    if TXT2IMG in (kind, job["kind"]):
        return kind, {field: value for field, value in job["params"].items() if field not in _IMAGE_FIELDS}
    return INPAINT if job["kind"] == INPAINT else kind, job["params"]


def _merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` overridden by ``given``; an aspect ratio replaces width and height, and these replace it."""
    replaced: tuple[str, ...] = ()
    if "aspect_ratio" in given:
        replaced = ("width", "height")
    elif "width" in given or "height" in given:
        replaced = ("aspect_ratio",)
    kept = {field: value for field, value in base.items() if field not in replaced}
    merged = {**kept, **given}
    if merged.get("style_preset") == NO_STYLE:
        del merged["style_preset"]
    return merged


def _image(name: object, of_job: str | None, context: AssistRequest) -> str:
    """The source of the named image; without a name, the image of the job to change, or the only image."""
    found = context.image(name)
    if found is not None:
        return found
    if name is None and (of_job is not None or len(context.images) == 1):
        return of_job or context.images[0]
    names = " or ".join(map(image_name, range(len(context.images))))
    if not names:
        raise invalid_field("image", f"the user gave no image; only {CREATE} needs none", ProblemCode.UNAVAILABLE)
    raise invalid_field("image", f"must be {names}", ProblemCode.NOT_ALLOWED)


def _checked(job: Job, catalog: Catalog) -> Job:
    """``job`` if it is valid; else :class:`InvalidTicket`, whose problems name the arguments of the tool."""
    with renamed_problems(lambda field: field.removeprefix("params.").removeprefix("params") or "arguments"):
        request = parse_job(job).to_request()
    open_ticket(request, catalog, job_id=new_job_id(), owner="")
    return job

"""From the arguments of a tool call to a job that can be posted: merged with the job to change, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.catalog.catalog import Catalog
from models.catalog.families import DRAWN_KINDS, IMG2IMG, INPAINT, TXT2IMG
from models.errors import FieldProblem, InvalidTicket
from models.jobs.params import UPSCALE
from models.jobs.records import new_job_id
from models.jobs.tickets import open_ticket
from service.api.assist.tools import CREATE, EDIT, ENLARGE, NO_STYLE, image_index, image_name, job_fields
from service.api.errors import renamed_problems
from service.api.native.translate import parse_job

Job = dict[str, Any]
"""``kind`` and ``params``, as ``POST /v1/jobs`` takes them."""

_KINDS = {CREATE: TXT2IMG, EDIT: IMG2IMG, ENLARGE: UPSCALE}
_OF_IMAGES = ("image", "strength", "resize_mode", "mask")
"""Fields that mean nothing to an image drawn from words alone."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user gave beside the words."""

    catalog: Catalog
    images: tuple[str, ...] = ()
    """Sources, as tickets keep them; the image of the job to change is among them."""
    job: Job | None = None
    """The job to change."""

    def image(self, name: object) -> str | None:
        """The source that the language model calls ``name``."""
        index = image_index(name) if isinstance(name, str) else None
        return None if index is None or index >= len(self.images) else self.images[index]


def propose(name: str, arguments: Mapping[str, Any], wish: Wish) -> Job:
    """The job that a call of the tool ``name``, one of ``CREATE``, ``EDIT`` and ``ENLARGE``, stands for.

    Raises:
        InvalidTicket: it could not be drawn; the fields are named as the tool's arguments are.
    """
    foreign = [field for field in arguments if field not in job_fields(name)]
    if foreign:
        raise InvalidTicket([FieldProblem(field, "there is no such argument") for field in foreign])
    given = {field: value for field, value in arguments.items() if value is not None}
    kind, base = _start(name, wish)
    params = _merged(base, given)
    if name != CREATE:
        params["image"] = _image(given.get("image"), base.get("image"), wish)
        if kind == INPAINT and params["image"] != base["image"]:
            kind = IMG2IMG
            params.pop("mask", None)  # it is cut to the other image
    return _checked({"kind": kind, "params": params}, wish.catalog)


def _start(name: str, wish: Wish) -> tuple[str, Mapping[str, Any]]:
    """The kind of job that is meant, and the parameters that it starts from."""
    kind, job = _KINDS[name], wish.job
    if job is None or (kind in DRAWN_KINDS) is not (job["kind"] in DRAWN_KINDS):
        return kind, {}
    if TXT2IMG in (kind, job["kind"]):
        return kind, {field: value for field, value in job["params"].items() if field not in _OF_IMAGES}
    return INPAINT if job["kind"] == INPAINT else kind, job["params"]


def _merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` over ``base``; a shape replaces a size, and a size a shape."""
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


def _image(name: object, of_job: str | None, wish: Wish) -> str:
    """The source that is meant: as it was called, else the job's own, else the only one."""
    found = wish.image(name)
    if found is not None:
        return found
    if name is None and (of_job is not None or len(wish.images) == 1):
        return of_job or wish.images[0]
    names = " or ".join(map(image_name, range(len(wish.images))))
    needed = f"must be {names}" if names else f"the user gave no image; only {CREATE} needs none"
    raise InvalidTicket([FieldProblem("image", needed)])


def _checked(job: Job, catalog: Catalog) -> Job:
    """``job``; raises :class:`InvalidTicket` with the fields named as the tool's arguments are."""
    with renamed_problems(lambda field: field.removeprefix("params.").removeprefix("params") or "arguments"):
        request = parse_job(job).to_request()
    open_ticket(request, catalog, job_id=new_job_id(), owner="")
    return job

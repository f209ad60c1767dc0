"""Adds a trained model to the catalog of this machine's data folder, or says why it is not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from models.catalog.catalog import Catalog
from models.catalog.vision import VISION, VisionSpec, new_name_problem
from models.errors import PhotogramError
from service.backbone.catalog_edit import put_entries
from service.backbone.files import make_folder
from service.backbone.settings import Settings

_JOB = ".job"
"""The file in the folder of a model that says which job made it."""
_OFF = "this server does not add the models of jobs to its catalog"
_NOT_WRITTEN = "the catalog of the machine that trained it cannot be written"


def register(settings: Settings, made: Path, name: str, base: VisionSpec, job_id: str) -> str | None:
    """Move the model in the folder ``made`` to its place and add it as ``name``.

    Returns why it is not in the catalog, in words for the owner of the job, or ``None`` if it is. A model that an
    earlier execution of the same job has added stays. If it cannot be added, nothing of it is left there.
    """
    if not settings.register_finetuned:
        return _OFF
    place = settings.data / VISION / name
    if _job_of(place) == job_id and Catalog.load(settings.catalog_path).vision.resolve(name) is not None:
        return None
    try:
        catalog = Catalog.load(settings.catalog_path)
        problem = new_name_problem(name, catalog.vision, catalog)
        if problem is not None:
            return problem.message
        make_folder(place.parent)
        (made / _JOB).write_text(job_id)
        os.rename(made, place)
    except PhotogramError:
        return _NOT_WRITTEN
    except OSError:
        taken = f"there is a folder of a vision model {name!r} already, which is not in the catalog"
        return taken if place.exists() else _NOT_WRITTEN
    return _add(settings.catalog_path, place, name, base)


def _add(catalog: Path, place: Path, name: str, base: VisionSpec) -> str | None:
    entry: dict[str, Any] = {"folder": str(place.absolute()), "trained_by_job": True}
    entry |= {"licence": base.licence} if base.licence else {}
    try:
        put_entries(catalog, {(VISION, name): entry})
    except (PhotogramError, OSError):
        shutil.rmtree(place, ignore_errors=True)
        return _NOT_WRITTEN
    return None


def _job_of(place: Path) -> str | None:
    """The id of the job that made the model in the folder ``place``, if one did."""
    try:
        return (place / _JOB).read_text()
    except (OSError, UnicodeDecodeError):
        return None

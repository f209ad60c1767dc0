"""The model of a deployment by its name. The packages of a model lie in a folder with its name, whatever the model
does, so that a name which several models have is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.names import unknown_name
from models.catalog.vision import VisionModels, VisionSpec
from models.deploy.combinations import stored_name
from models.errors import PhotogramError, Problem, ProblemCode, quoted
from models.jobs.params import LoraUse

Deployable: TypeAlias = ModelSpec | VisionSpec | AuxiliaryModel
"""A model that draws, one that sees, or an upscaler."""
DRAWING, VISION, UPSCALING = "drawing", "vision", "upscaling"
"""What the model of a package does: ``kind`` in ``deploy.json``."""


class NoModel(PhotogramError):
    """A name is that of no model, or of several; ``problem`` says so."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def find_model(name: str, catalog: Catalog, loras: Sequence[LoraUse] = ()) -> Deployable:
    """The model with this name or alias, whose packages with ``loras`` no other model's can be mistaken for.

    Raises:
        NoModel: there is none, or another model of the catalog has the same name.
    """
    tables = _tables(catalog)
    found = {what: model for what, table in tables.items() if (model := table.resolve(name)) is not None}
    if not found:
        known = [each for table in tables.values() for each in table]
        raise NoModel(unknown_name("model", name, known))
    meant = {what: model for what, model in found.items() if model.name == name} or found
    if len({model.name for model in meant.values()}) > 1:
        told = " or ".join(f"{what} called {model.name!r}" for what, model in meant.items())
        raise NoModel(Problem(f"{quoted(name)} may be {told}: name one of them so", ProblemCode.UNAVAILABLE))
    (model, *_) = meant.values()
    _require_own(stored_name(model.name, loras), tables, is_combination=bool(loras))
    return model


def _tables(catalog: Catalog) -> Mapping[str, Catalog | VisionModels | AuxiliaryModels]:
    return {"a model that draws": catalog, "a vision model": catalog.vision, "an upscaler": catalog.upscalers}


def _require_own(name: str, tables: Mapping[str, Mapping[str, object]], *, is_combination: bool) -> None:
    """Raise :class:`NoModel` if packages called ``name`` could be those of two models."""
    having = [what for what, table in tables.items() if name in table]
    if is_combination:
        having.insert(0, "the model with these LoRAs")
    if len(having) > 1:
        told = " and of ".join(having)
        message = f"{name!r} is the name of {told}, whose packages would share a folder: give one of them another name"
        raise NoModel(Problem(message, ProblemCode.UNAVAILABLE))

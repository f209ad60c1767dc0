"""The images by which a deployment is recorded and proved: whole runs that differ as the jobs of users do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from PIL import Image as pillow
from PIL.Image import Image

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FAMILIES, IMG2IMG, SDXL, SDXL_REFINER, STABLE_DIFFUSION, TXT2IMG
from models.catalog.samplers import SAMPLERS
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.engine import Engine
from models.diffusion.events import Failed, Finished
from models.diffusion.sampling import training_of
from models.diffusion.verify import gradient
from models.diffusion.work import Task
from models.errors import InvalidTicket, JobFailure, PhotogramError
from models.jobs.params import DrawParams, DrawRequest
from models.jobs.tickets import complete

PROMPTS = ("a red apple", "a house by a lake", "a cat on a chair", "a blue car")
LONG_PROMPT = ", ".join(f"{colour} {thing}" for thing in ("apple", "boat", "cup", "tree", "star", "bird", "shoe", "hat")
                        for colour in ("a red", "a blue", "a green", "a yellow", "a small white"))  # fmt: skip
"""More than one chunk of tokens."""
SAMPLERS_TRIED = ("DPM++ 2M", "Euler a")
"""Besides the model's own; of those, the ones that its scheduler has."""
STRENGTH = 0.6
SHORT_STEPS = 2
"""The steps of an image that is drawn for its shapes only."""
_Size: TypeAlias = tuple[str, int, int]
"""The title of an image, its width and its height."""
_SOURCE = f"input:{'0' * 64}"
_PX_OF_LARGEST = 1 << 20


@dataclass(frozen=True)
class Recipe:
    """One image."""

    title: str
    """What is special about it, for people."""
    kind: str
    params: DrawParams
    is_judged: bool = True
    """Whether its image is compared; otherwise it is drawn for its shapes, in too few steps for an image."""


def recipes_of(
    catalog: Catalog,
    spec: ModelSpec,
    config: dict[str, object],
    steps: int | None,
    shapes: Sequence[tuple[int, int]] = (),
) -> list[Recipe]:
    """The recipes of a model.

    Args:
        config: of its scheduler.
        steps: of each image; ``None`` takes the model's default.
        shapes: widths and heights that images have besides the model's default; empty for a choice of several.

    Raises:
        InvalidTicket: the model takes fewer steps.
        ImpossibleShape: the model does not draw images of such a size.
    """
    facts = FAMILIES[spec.family]
    draws = TXT2IMG in facts.kinds
    kind = TXT2IMG if draws else IMG2IMG
    sizes = _asked(catalog, spec, kind, shapes) if shapes else list(_chosen(spec))
    found = list(_recipes(catalog, spec, config, steps, kind, sizes))
    if draws and IMG2IMG in facts.kinds:
        found.append(_recipe(catalog, spec, "over an image", IMG2IMG, steps, seed=5))
        for title, width, height in sizes if shapes else sizes[:2]:
            made = _recipe(catalog, spec, f"{title}, over", IMG2IMG, SHORT_STEPS, width=width, height=height, seed=6)
            found.append(replace(made, is_judged=False))
    return found


def _recipes(
    catalog: Catalog, spec: ModelSpec, config: dict[str, object], steps: int | None, kind: str, sizes: Sequence[_Size]
) -> Iterator[Recipe]:
    for number, prompt in enumerate(PROMPTS):
        yield _recipe(catalog, spec, f"seed {number + 1}", kind, steps, prompt=prompt, seed=number + 1)
    yield _recipe(catalog, spec, "without guidance", kind, steps, guidance_scale=1.0, seed=1)
    for name in SAMPLERS_TRIED:
        if name in SAMPLERS and SAMPLERS[name].serves(training_of(config)) and name != spec.defaults.sampler:
            yield _recipe(catalog, spec, name, kind, steps, sampler=name, seed=2)
    for title, width, height in sizes:
        made = _recipe(catalog, spec, title, kind, SHORT_STEPS, width=width, height=height, seed=3)
        yield replace(made, is_judged=False)
    if spec.family in (STABLE_DIFFUSION, SDXL, SDXL_REFINER):  # the others refuse more than one chunk
        made = _recipe(catalog, spec, "a long prompt", kind, SHORT_STEPS, prompt=LONG_PROMPT, seed=4)
        yield replace(made, is_judged=False)


class ImpossibleShape(PhotogramError):
    """A model does not draw images of a size that was asked for; the message says which it draws."""


def _asked(catalog: Catalog, spec: ModelSpec, kind: str, shapes: Sequence[tuple[int, int]]) -> list[_Size]:
    """The sizes in ``shapes``, each once, without the model's default, which is covered anyway."""
    for width, height in shapes:
        asked = f"{width}x{height}"
        try:
            _recipe(catalog, spec, asked, kind, None, width=width, height=height)
        except InvalidTicket as error:
            raise ImpossibleShape(f"{spec.name} does not draw {asked}: {error}") from error
        drawn = spec.drawn_size(width, height)
        if drawn != (width, height):
            raise ImpossibleShape(f"{spec.name} draws {asked} as {drawn[0]}x{drawn[1]} and enlarges it: name that size")
    default = spec.drawn_size(spec.defaults.width, spec.defaults.height)
    return [
        (f"{width}x{height}", width, height) for width, height in dict.fromkeys(shapes) if (width, height) != default
    ]


def _chosen(spec: ModelSpec) -> Iterator[_Size]:
    """Sizes besides the default: smaller, wider, taller, and larger, as far as the model draws them."""
    grid, (width, height) = 2 * spec.grid_px, spec.drawn_size(spec.defaults.width, spec.defaults.height)
    for title, across, down in (("wide", 1.5, 0.75), ("tall", 0.625, 1.25), ("large", 2.0, 2.0), ("small", 0.5, 0.5)):
        size = (max(64, round(width * across / grid) * grid), max(64, round(height * down / grid) * grid))
        size = spec.drawn_size(*(min(side, spec.limits.max_px) for side in size))
        if size[0] * size[1] <= max(_PX_OF_LARGEST, width * height):
            yield title, *size


def _recipe(catalog: Catalog, spec: ModelSpec, title: str, kind: str, steps: int | None, **asked: object) -> Recipe:
    width, height = spec.drawn_size(spec.defaults.width, spec.defaults.height)
    over = {"image": _SOURCE, "strength": STRENGTH} if kind == IMG2IMG else {}
    request = {"prompt": PROMPTS[0], "width": width, "height": height, "num_inference_steps": steps, **over, **asked}
    params = complete(DrawRequest(kind=kind, model=spec.name, **request), catalog)  # type: ignore[arg-type]
    assert isinstance(params, DrawParams)
    return Recipe(title, kind, params)


def draw(
    recipes: Sequence[Recipe], catalog: Catalog, checkpoint: Checkpoint, told: Callable[[int, int], None] | None = None
) -> list[Image]:
    """The images of ``recipes``, drawn by an engine of their own, which lets them share forwards.

    Args:
        told: called with the steps done and the steps of all.

    Raises:
        JobFailure: an image cannot be drawn.
    """
    engine = Engine(lambda spec: checkpoint, device=checkpoint.device)
    try:
        return _drawn(engine, recipes, catalog, told)
    finally:
        engine.close()


def _drawn(
    engine: Engine, recipes: Sequence[Recipe], catalog: Catalog, told: Callable[[int, int], None] | None
) -> list[Image]:
    for number, each in enumerate(recipes):
        images = {_SOURCE: gradient(each.params.width, each.params.height)} if each.kind == IMG2IMG else {}
        engine.add_row(str(number), Task(kind=each.kind, params=each.params, catalog=catalog, images=images))
    found: dict[str, Image] = {}
    while not engine.is_idle:
        for event in engine.step():
            if isinstance(event, Failed):
                raise _failed(recipes[int(event.row_id)], event.failure)
            if isinstance(event, Finished) and isinstance(event.result, pillow.Image):
                found[event.row_id] = event.result
                if told is not None:
                    told(len(found), len(recipes))
    return [found[str(number)] for number in range(len(recipes))]


class NotDrawn(PhotogramError):
    """A recipe could not be drawn."""


def _failed(recipe: Recipe, failure: JobFailure) -> NotDrawn:
    return NotDrawn(f"the image {recipe.title!r} cannot be drawn: {failure}")

"""The job kind that deploys: its request, its effective parameters, its cost, and how a request is completed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FAMILIES, FamilyFacts
from models.catalog.vision import VisionSpec, vision_problem
from models.deploy.backends import BACKENDS, PRECISIONS, UnknownTarget, known_target
from models.deploy.combinations import stored_name
from models.deploy.names import Deployable, NoModel, find_model
from models.deploy.shapes import read_shape
from models.errors import Problem, ProblemCode
from models.jobs.checks import Problems, choice_problem, range_problem, value_or
from models.jobs.cost import Cost, Sizes
from models.jobs.drawing_checks import size_problem
from models.jobs.loras import check_loras, summed_loras
from models.jobs.parameters import Parameter
from models.jobs.params import LORAS_MAX, JobParams, JobRequest, LoraUse
from models.jobs.vision import PRIORITY

DEPLOY = "deploy"
PROGRESS_STEPS = 100
"""The steps of a job: parts of a hundred, over all stages."""
UNET, TRANSFORMER = "unet", "transformer"
PARTS = ("text_encoder", "text_encoder_2", "text_encoder_3", UNET, TRANSFORMER, "vae_decoder", "vae_encoder")
"""The parts of models that draw; each model has some of them."""
DEFAULT_BACKEND, DEFAULT_PRECISION = "openvino", "f32"
_DRAWN_IMAGES = 70
"""So many images are drawn about, over recording, checks and measurements, each of ``_DRAWN_PX``."""
_DRAWN_PX = 512 * 512
"""What an image is counted as, whatever the model's size."""
_SEEING_PX = 1_000_000
"""What the deployment of a model that sees or enlarges is counted as: its runs are short."""
SHAPES_MAX = 16


@dataclass(frozen=True, kw_only=True)
class DeployRequest(JobRequest):
    """A request to export a model to an inference backend, to check the result, and to have workers use it."""

    kind: str = DEPLOY
    model: Annotated[str, Parameter(text="A name or alias from `GET /v1/models`, of a vision model or of an upscaler.")]
    backend: Annotated[
        str | None,
        Parameter(
            text="The inference backend, which the worker must have.", choices=tuple(BACKENDS),
            if_left_out=f"`{DEFAULT_BACKEND}`",
        ),
    ] = None  # fmt: skip
    precision: Annotated[
        str | None,
        Parameter(
            text="Of the weights and of what is computed with them; not every backend has all.", choices=PRECISIONS,
            if_left_out=f"`{DEFAULT_PRECISION}`",
        ),
    ] = None  # fmt: skip
    steps: Annotated[
        int | None,
        Parameter(
            text="Of each image that is drawn to record, to check and to measure; only for models that draw.", low=1,
            high=1000, is_checked_later=True, if_left_out="the model's",
        ),
    ] = None  # fmt: skip
    parts: Annotated[
        tuple[str, ...],
        Parameter(
            text="Only these parts of a model that draws; torch runs the others. None are all. The parts are "
            f"{', '.join(f'`{each}`' for each in PARTS)}.",
            max_items=len(PARTS),
        ),
    ] = ()  # fmt: skip
    shapes: Annotated[
        tuple[str, ...],
        Parameter(
            text="The sizes that images may have besides the default, such as `512x768`; only for models that draw. "
            "None are a choice of several.",
            max_items=SHAPES_MAX,
        ),
    ] = ()  # fmt: skip
    loras: Annotated[
        tuple[LoraUse, ...],
        Parameter(
            text="LoRAs that are baked in; images with just these LoRAs and weights use the package. Only for models "
            "that draw.",
            max_items=LORAS_MAX,
        ),
    ] = ()  # fmt: skip
    force: Annotated[
        bool | None,
        Parameter(text="Whether the package is used even if it does not pass its checks.", if_left_out="false"),
    ] = None
    priority: Annotated[int | None, PRIORITY] = None


@dataclass(frozen=True, kw_only=True)
class DeployParams(JobParams):
    """The effective parameters; ``steps`` is ``None`` for models that do not draw."""

    declaration: ClassVar[type[JobRequest]] = DeployRequest

    model: str
    backend: str
    precision: str
    steps: int | None
    parts: tuple[str, ...]
    shapes: tuple[str, ...] = ()
    loras: tuple[LoraUse, ...] = ()
    """By the catalog's own names, each once."""
    force: bool
    priority: int = 0

    def to_payload(self) -> dict[str, Any]:
        """As every payload; the second weight of a LoRA is left out if it has none."""
        return super().to_payload() | {"loras": tuple(each.to_payload() for each in self.loras)}

    @property
    def stored_name(self) -> str:
        """The name under which the package is stored."""
        return stored_name(self.model, self.loras)

    @property
    def target(self) -> str:
        """The name of the package."""
        return f"{self.backend}-{self.precision}"

    @property
    def expected_steps(self) -> int:
        return PROGRESS_STEPS

    def cost(self, sizes: Sizes) -> Cost:
        """The images that are drawn with torch and with the package; exporting is not counted."""
        step_px = _SEEING_PX if self.steps is None else _DRAWN_IMAGES * _DRAWN_PX * self.steps
        return Cost(step_px=step_px, steps_field="steps")


def complete_deploy(request: DeployRequest, catalog: Catalog, problems: Problems) -> DeployParams:
    """The effective parameters of ``request``; what the worker's machine lacks is found there."""
    found, loras = _found(request.model, catalog, problems), tuple[LoraUse, ...]()
    if isinstance(found, ModelSpec):
        _check_drawing(request, found, problems)
        loras = _loras(request, found, catalog, problems)
    elif found is not None:
        _check_other(request, found, problems)
    backend, precision = value_or(request.backend, DEFAULT_BACKEND), value_or(request.precision, DEFAULT_PRECISION)
    problems.note("precision", _precision_problem(backend, precision))
    return DeployParams(
        model=request.model if found is None else found.name,
        backend=backend,
        precision=precision,
        steps=value_or(request.steps, found.defaults.num_inference_steps) if isinstance(found, ModelSpec) else None,
        parts=request.parts,
        shapes=request.shapes,
        loras=loras,
        force=value_or(request.force, False),
        priority=value_or(request.priority, 0),
    )


def _found(name: str, catalog: Catalog, problems: Problems) -> Deployable | None:
    try:
        return find_model(name, catalog)
    except NoModel as error:
        problems.note("model", error.problem)
        return None


def _loras(request: DeployRequest, spec: ModelSpec, catalog: Catalog, problems: Problems) -> tuple[LoraUse, ...]:
    """The LoRAs by the catalog's names. None may have the weight 0: images leave such a LoRA out."""
    named = ((f"loras[{index}].name", use) for index, use in enumerate(request.loras))
    loras = summed_loras(named, spec, catalog, problems)
    facts = FAMILIES.get(spec.family)
    if facts is not None:
        check_loras(loras, spec, facts, problems)
    for use in loras:
        if not any(use.weights):
            message = f"the weight of {use.name!r} must not be 0, with which it changes nothing"
            problems.note("loras", Problem(message, ProblemCode.NOT_APPLICABLE))
    return loras


def _check_other(request: DeployRequest, spec: VisionSpec | AuxiliaryModel, problems: Problems) -> None:
    """The checks of a model that sees, and of an upscaler."""
    if isinstance(spec, VisionSpec):
        problem = vision_problem(spec)
    else:
        broken = spec.weights_problem()
        problem = Problem(f"{spec.name} cannot be used: {broken}", ProblemCode.UNAVAILABLE) if broken else None
    problems.note("model", problem)
    does = "sees" if isinstance(spec, VisionSpec) else "enlarges"
    unable = Problem(f"is for models that draw, and {spec.name} {does}", ProblemCode.NOT_APPLICABLE)
    problems.note("steps", None if request.steps is None else unable)
    problems.note("parts", unable if request.parts else None)
    problems.note("shapes", unable if request.shapes else None)
    problems.note("loras", unable if request.loras else None)


def _check_drawing(request: DeployRequest, spec: ModelSpec, problems: Problems) -> None:
    facts = FAMILIES.get(spec.family)
    broken = spec.weights_problem() if facts else f"its family {spec.family!r} is none of {', '.join(FAMILIES)}"
    if broken is not None:
        problems.note("model", Problem(f"{spec.name} cannot be used: {broken}", ProblemCode.UNAVAILABLE))
    if request.steps is not None:
        problems.note("steps", range_problem(request.steps, 1, spec.limits.max_steps))
    known = [each for each in PARTS if facts is None or each != _other_denoiser(facts)]
    for index, part in enumerate(request.parts):
        problems.note(f"parts[{index}]", choice_problem(part, known))
    for index, shape in enumerate(request.shapes):
        problems.note(f"shapes[{index}]", _shape_problem(shape, spec, facts))


def _shape_problem(shape: str, spec: ModelSpec, facts: FamilyFacts | None) -> Problem | None:
    """A problem unless the model draws images of this size as they are."""
    try:
        width, height = read_shape(shape)
    except ValueError as error:
        return Problem(str(error), ProblemCode.MALFORMED)
    if facts is None:  # reported as such
        return None
    for side, size_px in (("width", width), ("height", height)):
        problem = size_problem(size_px, spec, facts.size_multiple_px)
        if problem is not None:
            return replace(problem, message=f"the {side} {problem.message}")
    drawn = spec.drawn_size(width, height)
    if drawn != (width, height):
        message = f"is drawn as {drawn[0]}x{drawn[1]} and enlarged by {spec.name}: name that size"
        return Problem(message, ProblemCode.INVALID)
    return None


def _other_denoiser(facts: FamilyFacts) -> str:
    """The denoiser that no model of the family has."""
    return TRANSFORMER if facts.denoiser == FamilyFacts.denoiser else UNET


def _precision_problem(backend: str, precision: str) -> Problem | None:
    """A problem if the backend has not this precision of other backends; unknown names are found by their choices."""
    if backend not in BACKENDS or precision not in PRECISIONS:
        return None
    try:
        known_target(backend, precision)
    except UnknownTarget as error:
        return Problem(str(error), ProblemCode.NOT_APPLICABLE)
    return None

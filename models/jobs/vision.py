"""The job kinds that see: their requests, their effective parameters, and how a request is completed."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from models.catalog.catalog import Catalog
from models.catalog.names import unknown_name
from models.catalog.vision import EYES, vision_problem
from models.errors import Problem, ProblemCode
from models.jobs.checks import Problems, value_or
from models.jobs.parameters import Parameter
from models.jobs.params import PRIORITY_MAX, SOURCE_TEXT, JobParams, JobRequest

CLASSIFY, EMBED, SIMILARITY, DESCRIBE_MODEL = "classify", "embed", "similarity", "describe_model"
TOP_K_MAX = 100
OTHERS_MAX = 16
TEXT_MAX_CHARS = 500
"""A text of so many characters always has fewer tokens than the text encoder can read."""
POOLED, FEATURES = "pooled", "features"
EMBEDDINGS = (POOLED, FEATURES)
"""What an embedding is: one vector, or all that the model has before it pools, as a file."""

_SOURCE = Parameter(text=SOURCE_TEXT, source="image")
MODEL = Parameter(
    text="A name or alias of a vision model of the catalog, from `GET /v1/vision/models?catalog=true`.",
    if_left_out="the first of them",
)
PRIORITY = Parameter(
    text="Among the jobs of the same API key: each step up gives four times the share of the device.",
    low=-PRIORITY_MAX,
    high=PRIORITY_MAX,
)


@dataclass(frozen=True, kw_only=True)
class ClassifyRequest(JobRequest):
    """A request for the labels of an image."""

    kind: str = CLASSIFY
    image: Annotated[str, _SOURCE]
    model: Annotated[str | None, MODEL] = None
    top_k: Annotated[int | None, Parameter(text="How many labels.", low=1, high=TOP_K_MAX, if_left_out="5")] = None
    multi_label: Annotated[
        bool | None,
        Parameter(
            text="Whether each label has a probability of its own (sigmoid); otherwise they add up to 1 (softmax).",
            if_left_out="false",
        ),
    ] = None
    priority: Annotated[int | None, PRIORITY] = None


@dataclass(frozen=True, kw_only=True)
class EmbedRequest(JobRequest):
    """A request for the embedding of an image."""

    kind: str = EMBED
    image: Annotated[str, _SOURCE]
    model: Annotated[str | None, MODEL] = None
    output: Annotated[
        str | None,
        Parameter(
            text="`pooled` is one vector in the result; `features` is all that the model has before it pools, as a "
            "NumPy file.",
            choices=EMBEDDINGS, if_left_out="`pooled`",
        ),
    ] = None  # fmt: skip
    normalize: Annotated[
        bool | None, Parameter(text="Whether the pooled vector is divided by its length.", if_left_out="true")
    ] = None
    priority: Annotated[int | None, PRIORITY] = None


@dataclass(frozen=True, kw_only=True)
class SimilarityRequest(JobRequest):
    """A request to compare an image with others, and with texts."""

    kind: str = SIMILARITY
    image: Annotated[str, _SOURCE]
    others: Annotated[
        tuple[str, ...],
        Parameter(text=f"Images to compare it with, at most {OTHERS_MAX}.", source="image", max_items=OTHERS_MAX),
    ] = ()
    texts: Annotated[
        tuple[str, ...],
        Parameter(
            text=f"Descriptions to compare it with, at most {OTHERS_MAX}, by a model that reads texts, as "
            f"`{EYES}` does.",
            max_items=OTHERS_MAX,
        ),
    ] = ()
    model: Annotated[str | None, MODEL] = None
    priority: Annotated[int | None, PRIORITY] = None


@dataclass(frozen=True, kw_only=True)
class DescribeModelRequest(JobRequest):
    """A request for what a vision model is."""

    kind: str = DESCRIBE_MODEL
    model: Annotated[str | None, MODEL] = None
    priority: Annotated[int | None, PRIORITY] = None


@dataclass(frozen=True, kw_only=True)
class VisionParams(JobParams):
    """The base of the effective parameters of all kinds that see."""

    model: str
    priority: int = 0

    def cost_key(self, catalog: Catalog) -> Hashable:
        return seeing_cost_key(self.model)


@dataclass(frozen=True, kw_only=True)
class ClassifyParams(VisionParams):
    declaration: ClassVar[type[JobRequest]] = ClassifyRequest

    image: str
    top_k: int
    multi_label: bool


@dataclass(frozen=True, kw_only=True)
class EmbedParams(VisionParams):
    declaration: ClassVar[type[JobRequest]] = EmbedRequest

    image: str
    output: str
    normalize: bool


@dataclass(frozen=True, kw_only=True)
class SimilarityParams(VisionParams):
    declaration: ClassVar[type[JobRequest]] = SimilarityRequest

    image: str
    others: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DescribeModelParams(VisionParams):
    declaration: ClassVar[type[JobRequest]] = DescribeModelRequest


def seeing_cost_key(model: str) -> Hashable:
    """The cost key of forwards of a vision model."""
    return "vision", model


def complete_classify(request: ClassifyRequest, catalog: Catalog, problems: Problems) -> ClassifyParams:
    return ClassifyParams(
        image=request.image,
        model=vision_model_name(request.model, catalog, problems),
        top_k=value_or(request.top_k, 5),
        multi_label=value_or(request.multi_label, False),
        priority=value_or(request.priority, 0),
    )


def complete_embed(request: EmbedRequest, catalog: Catalog, problems: Problems) -> EmbedParams:
    return EmbedParams(
        image=request.image,
        model=vision_model_name(request.model, catalog, problems),
        output=value_or(request.output, POOLED),
        normalize=value_or(request.normalize, True),
        priority=value_or(request.priority, 0),
    )


def complete_similarity(request: SimilarityRequest, catalog: Catalog, problems: Problems) -> SimilarityParams:
    model = vision_model_name(request.model, catalog, problems)
    if not request.others and not request.texts:
        problems.note("others", Problem("must have at least one image, unless there are texts", ProblemCode.REQUIRED))
    for index, text in enumerate(request.texts):
        problems.note(f"texts[{index}]", text_problem(text))
    if request.texts and model and catalog.vision[model].projection is None:
        message = f"the vision model {model!r} reads no texts; {EYES!r} does"
        problems.note("model", Problem(message, ProblemCode.NOT_ALLOWED))
    return SimilarityParams(
        image=request.image,
        others=request.others,
        texts=request.texts,
        model=model,
        priority=value_or(request.priority, 0),
    )


def complete_description(request: DescribeModelRequest, catalog: Catalog, problems: Problems) -> DescribeModelParams:
    return DescribeModelParams(
        model=vision_model_name(request.model, catalog, problems), priority=value_or(request.priority, 0)
    )


def text_problem(text: str) -> Problem | None:
    """Why images cannot be compared with ``text``."""
    if not any(character.isalnum() for character in text):
        return Problem("must have a word: a letter or a digit at least", ProblemCode.REQUIRED)
    if len(text) > TEXT_MAX_CHARS:
        message = f"may have at most {TEXT_MAX_CHARS} characters"
        return Problem(message, ProblemCode.TOO_LONG, high=TEXT_MAX_CHARS)
    return None


def vision_model_name(name: str | None, catalog: Catalog, problems: Problems) -> str:
    """The catalog's name of the model ``name``; what is wrong with it is noted."""
    spec = catalog.vision.resolve(name)
    if spec is None:
        problems.note("model", unknown_name("vision model", name or "", catalog.vision))
    else:
        problems.note("model", vision_problem(spec))
    return "" if spec is None else spec.name

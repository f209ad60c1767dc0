"""The job kind that trains: its request, its effective parameters, its cost, and how a request is completed."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, ClassVar

from models.catalog.catalog import Catalog
from models.catalog.vision import new_name_problem
from models.errors import FieldProblem, Problem, ProblemCode
from models.jobs.checks import Problems, value_or
from models.jobs.cost import Cost, Sizes
from models.jobs.parameters import Parameter
from models.jobs.params import JobRequest
from models.jobs.vision import MODEL, PRIORITY, VisionParams, vision_model_name

FINETUNE = "finetune"
TRAINING_QUEUE = "training"
"""The queue of the workers that train: one job at a time, apart from the jobs that draw."""
IMAGES_MAX = 2_000
"""How many images a request may list; more of them belong in an archive."""
EPOCHS_MAX = 1_000
LABEL_MAX_CHARS = 200
SEPARATOR = ";"
"""Between the labels of an image."""
PROGRESS_STEPS = 100
"""The steps of a job: parts of a hundred, because nobody knows before after how many epochs it stops."""
_IMAGE_PX = 224 * 224
"""What an image is counted as, whatever its size: models reduce it to about so many pixels."""
_DRAWING_SHARE = 10
"""So many pixels that pass through a vision model are counted as one that a step of a drawing computes."""
_LEARNING = 3
"""Learning from an image takes so many times what looking at it takes."""
_AUGMENT = re.compile(r"(rand|augmix|original|originalr|v0|v0r|3a)(-[a-z]{1,4}[0-9.]{1,5})*")


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """An image and its labels."""

    image: Annotated[
        str,
        Parameter(
            text="`input:<sha256>` from `POST /v1/inputs`, `image:<id>` of an image that this server generated, or "
            "Base64.",
            source="example",
        ),
    ]  # fmt: skip
    label: Annotated[
        str,
        Parameter(
            text="Its label, or several separated by `;`, which makes the model multi-label; of a multi-label model it "
            "may be empty, for an image with none of the labels."
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class FinetuneRequest(JobRequest):
    """A request to give a vision model a classifier for labels of one's own."""

    kind: str = FINETUNE
    data: Annotated[
        str | None,
        Parameter(
            text="The images: `input:<sha256>` of a zip archive from `POST /v1/archives`, or Base64 of one. It has a "
            "folder of images for each label, or folders `train` and `val` of these, or one CSV file with the columns "
            "`path` and `label`.",
            source="archive", if_left_out="`images`",
        ),
    ] = None  # fmt: skip
    images: Annotated[
        tuple[LabelledImage, ...],
        Parameter(text=f"The images in place of `data`, at most {IMAGES_MAX}.", max_items=IMAGES_MAX),
    ] = ()
    model: Annotated[str | None, MODEL] = None
    name: Annotated[
        str | None,
        Parameter(
            text="The name of the new vision model in the catalog.",
            if_left_out="it is not added, only its files are made",
        ),
    ] = None
    multi_label: Annotated[
        bool | None,
        Parameter(text="Whether an image may have several labels, or none.", if_left_out="true if one has several"),
    ] = None
    full: Annotated[
        bool | None,
        Parameter(
            text="Whether all weights are trained, over images that timm augments; otherwise only the classifier is.",
            if_left_out="false",
        ),
    ] = None
    epochs: Annotated[
        int | None, Parameter(text="How many epochs at most.", low=1, high=EPOCHS_MAX, if_left_out="30")
    ] = None
    patience: Annotated[
        int | None,
        Parameter(text="Stop after so many epochs without a better one.", low=1, high=EPOCHS_MAX, if_left_out="5"),
    ] = None
    batch_size: Annotated[int | None, Parameter(text="Images of a step.", low=2, high=1024, if_left_out="32")] = None
    learning_rate: Annotated[
        float | None,
        Parameter(text="Of AdamW.", low=0, high=10, excludes_low=True, if_left_out="0.01, or 0.001 with `full`"),
    ] = None
    held_out: Annotated[
        float | None,
        Parameter(
            text="The share of the images that the model is judged by, unless the data has a folder `val`.", low=0.01,
            high=0.9, if_left_out="0.2",
        ),
    ] = None  # fmt: skip
    seed: Annotated[int | None, Parameter(text="Of all random choices.", low=0, high=2**31 - 1, if_left_out="0")] = None
    min_scale: Annotated[
        float | None,
        Parameter(
            text="With `full`: the smallest part of an image that an augmented one shows.", low=0.01, high=1,
            if_left_out="0.35",
        ),
    ] = None  # fmt: skip
    flip: Annotated[
        bool | None, Parameter(text="With `full`: whether augmented images may be mirrored.", if_left_out="true")
    ] = None
    augment: Annotated[
        str | None,
        Parameter(text="With `full`: a policy of timm, such as `rand-m9-mstd0.5`.", if_left_out="changes of colour"),
    ] = None
    priority: Annotated[int | None, PRIORITY] = None


@dataclass(frozen=True, kw_only=True)
class FinetuneParams(VisionParams):
    """The effective parameters; the fields that are ``None`` depend on the data or on ``full``."""

    declaration: ClassVar[type[JobRequest]] = FinetuneRequest

    data: str | None
    images: tuple[LabelledImage, ...]
    name: str | None
    multi_label: bool | None
    full: bool
    epochs: int
    patience: int
    batch_size: int
    learning_rate: float | None
    held_out: float
    seed: int
    min_scale: float
    flip: bool
    augment: str | None

    @property
    def expected_steps(self) -> int:
        return PROGRESS_STEPS

    def cost(self, sizes: Sizes) -> Cost:
        """Each image is looked at once, or with ``full`` learnt from in each epoch; early stops are not known before.

        The images are decoded one after the other, so that they count neither as ``source_px`` nor as memory.
        """
        count = len(self.images) if self.data is None else sizes.get(self.data, (0, 0))[0]
        passes = _LEARNING * self.epochs if self.full else 1
        field = "epochs" if self.full else "data"
        return Cost(step_px=count * _IMAGE_PX * passes // _DRAWING_SHARE, steps_field=field)


def complete_finetune(request: FinetuneRequest, catalog: Catalog, problems: Problems) -> FinetuneParams:
    problems.note("data", _data_problem(request))
    problems.add(_label_problems(request))
    if request.name is not None:
        problems.note("name", new_name_problem(request.name, catalog.vision, catalog))
    if request.augment is not None and not _AUGMENT.fullmatch(request.augment):
        message = "must be a policy of timm, as in rand-m9-mstd0.5"
        problems.note("augment", Problem(message, ProblemCode.MALFORMED))
    return FinetuneParams(
        data=request.data,
        images=request.images,
        model=vision_model_name(request.model, catalog, problems),
        name=request.name,
        multi_label=request.multi_label,
        full=value_or(request.full, False),
        epochs=value_or(request.epochs, 30),
        patience=value_or(request.patience, 5),
        batch_size=value_or(request.batch_size, 32),
        learning_rate=request.learning_rate,
        held_out=value_or(request.held_out, 0.2),
        seed=value_or(request.seed, 0),
        min_scale=value_or(request.min_scale, 0.35),
        flip=value_or(request.flip, True),
        augment=request.augment,
        priority=value_or(request.priority, 0),
    )


def _data_problem(request: FinetuneRequest) -> Problem | None:
    if request.data is None and not request.images:
        return Problem("is required, unless there are images", ProblemCode.REQUIRED)
    if request.data is not None and request.images:
        return Problem("must be left out where there are images", ProblemCode.CONFLICT)
    return None


def _label_problems(request: FinetuneRequest) -> list[FieldProblem]:
    """What is wrong with the labels of the first image that has such a problem, or else with those of all images."""
    labels = [tuple(dict.fromkeys(name.strip() for name in each.label.split(SEPARATOR))) for each in request.images]
    is_multi_label = value_or(request.multi_label, any(len(names) > 1 for names in labels))
    for index, names in enumerate(labels):
        if (problem := _names_problem(names, is_multi_label)) is not None:
            return [FieldProblem.of(f"images[{index}].label", problem)]
    if not labels or (problem := _counts_problem(labels, is_multi_label)) is None:
        return []
    return [FieldProblem.of("images", problem)]


def _names_problem(names: tuple[str, ...], is_multi_label: bool) -> Problem | None:
    """A problem unless an image may have these labels; one empty name is no label."""
    if names == ("",):
        return (
            None if is_multi_label else Problem("must not be empty, unless multi_label is true", ProblemCode.REQUIRED)
        )
    if not all(names):
        return Problem(f"has an empty name beside a {SEPARATOR!r}", ProblemCode.MALFORMED)
    if any(len(name) > LABEL_MAX_CHARS or not name.isprintable() for name in names):
        message = f"a label has at most {LABEL_MAX_CHARS} characters, all printable"
        return Problem(message, ProblemCode.MALFORMED)
    if len(names) > 1 and not is_multi_label:
        return Problem("must be one label where multi_label is false", ProblemCode.CONFLICT)
    return None


def _counts_problem(labels: list[tuple[str, ...]], is_multi_label: bool) -> Problem | None:
    """A problem unless there are labels to tell apart, with images to learn and to judge each of them by."""
    counts = Counter(name for names in labels for name in names if name)
    if len(counts) < (1 if is_multi_label else 2):
        found = f"only the label {min(counts)!r}" if counts else "no label"
        return Problem(f"must have labels to tell apart, and have {found}", ProblemCode.OUT_OF_RANGE)
    if rare := [name for name, count in counts.items() if count < 2]:
        message = (
            f"must have at least 2 images of each label, one to learn and one to judge by; too few of: {rare[0]!r}"
        )
        return Problem(message, ProblemCode.OUT_OF_RANGE)
    return None

"""The registry of job kinds: what a kind is called, what it takes, what it runs, and what it gives back.

Gateway, ledger, workers and dialects read this registry; adding a kind means adding one entry. Modules outside of
Photogram add theirs with :func:`register`; the setting ``PHOTOGRAM_JOB_KINDS`` names the modules to import at start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from typing import Any

from models.catalog.catalog import Catalog
from models.catalog.faces import SWAP_REFUSAL, restore_problem
from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.errors import FieldProblem, InvalidTicket, PhotogramError, Problem, ProblemCode
from models.jobs.agents import AGENT, AGENT_QUEUE, AgentParams, AgentRequest, complete_agent
from models.jobs.checks import Problems, check_sources
from models.jobs.deploying import DEPLOY, DeployParams, DeployRequest, complete_deploy
from models.jobs.drawing import complete_drawing
from models.jobs.finetuning import FINETUNE, TRAINING_QUEUE, FinetuneParams, FinetuneRequest, complete_finetune
from models.jobs.parameters import bound_problems, check_declarations, declared
from models.jobs.params import (
    FACE_RESTORE,
    FACE_SWAP,
    UPSCALE,
    DrawParams,
    DrawRequest,
    FaceRestoreParams,
    FaceRestoreRequest,
    FaceSwapRequest,
    JobParams,
    JobRequest,
    UpscaleParams,
    UpscaleRequest,
)
from models.jobs.processing import complete_face_restore, complete_upscale, refuse_face_swap
from models.jobs.vision import (
    CLASSIFY,
    DESCRIBE_MODEL,
    EMBED,
    SIMILARITY,
    ClassifyParams,
    ClassifyRequest,
    DescribeModelParams,
    DescribeModelRequest,
    EmbedParams,
    EmbedRequest,
    SimilarityParams,
    SimilarityRequest,
    complete_classify,
    complete_description,
    complete_embed,
    complete_similarity,
)

DIFFUSION_QUEUE = "photogram"
"""The queue of the workers that own a diffusion engine."""


_KIND_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ResultForm(StrEnum):
    """What a job of a kind gives back."""

    IMAGES = "images"
    DOCUMENT = "document"
    """A JSON document."""
    FILES = "files"


class UnknownKind(PhotogramError, LookupError):
    """No job kind of that name is registered in this process."""


def _always_possible(catalog: Catalog) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class JobKind:
    """One kind of job.

    A kind runs either on the diffusion engine (``plan``) or as a plain function in a worker's thread (``function``);
    both are named as ``module:name`` and imported by workers alone, so that the gateway never imports torch.
    """

    name: str
    summary: str
    """One sentence in the imperative, for the OpenAPI document."""
    request: type[JobRequest]
    params: type[JobParams]
    complete: Callable[[Any, Catalog, Problems], JobParams]
    """The effective parameters of a request; notes what is wrong with it and then may return anything.

    Sources, ``needs``, ``ignores`` and the declared bounds are checked before, whatever the kind.
    """
    plan: str | None = None
    """A generator function ``(task, tools)``; ``models.diffusion.work`` says what it yields and returns."""
    function: str | None = None
    """A function ``(workers.functions.FunctionCall) -> JobOutput``."""
    queue: str = DIFFUSION_QUEUE
    """The queue that jobs of this kind wait in; each worker serves one queue."""
    result: ResultForm = ResultForm.IMAGES
    is_administrative: bool = False
    """Whether only keys with the scope ``admin`` may submit it, because it changes what the jobs of all keys get."""
    problem: Callable[[Catalog], str | None] = _always_possible
    """Why this server can do no job of this kind at all; ``None`` if it can."""
    needs: tuple[str, ...] = ()
    """Fields that are optional in the request class and required for this kind."""
    ignores: Mapping[str, str] = field(default_factory=dict)
    """Fields without effect on this kind, and the kind to use instead; only their neutral value is accepted."""
    example: Mapping[str, Any]
    """The ``params`` of a request, for the OpenAPI document."""

    def complete_request(self, request: JobRequest, catalog: Catalog) -> JobParams:
        """The effective parameters of ``request``.

        Raises:
            InvalidTicket: with every problem found, if the request cannot be done.
        """
        problems = Problems()
        check_sources(request, problems)
        self._check_fields(request, problems)
        problems.add(bound_problems(self.request, request))
        try:
            params = self.complete(request, catalog, problems)
        except Exception as error:
            if not problems.found or isinstance(error, InvalidTicket):
                raise
            params = None  # completing a request that breaks its bounds may fail; the problems say why
        if problems.found or params is None:
            raise InvalidTicket(sorted(problems.found, key=self._position))
        return params

    def _position(self, problem: FieldProblem) -> int:
        """Where the problem's field stands in the request, so that problems come in the order of the fields."""
        names = [field.name for field in declared(self.request)]
        name = re.split(r"[.\[]", problem.field)[0]
        return names.index(name) if name in names else -1

    def _check_fields(self, request: JobRequest, problems: Problems) -> None:
        for name in self.needs:
            if getattr(request, name) is None:
                problems.note(name, Problem(f"is required for kind {self.name}", ProblemCode.REQUIRED))
        for name, kind in self.ignores.items():
            if getattr(request, name) not in (None, getattr(self.params, name)):
                message = f"has no effect on kind {self.name}; use kind {kind}"
                problems.note(name, Problem(message, ProblemCode.NOT_APPLICABLE))

    def __post_init__(self) -> None:
        for what, name, allowed in (("kind", self.name, _KIND_NAME), ("queue", self.queue, _QUEUE_NAME)):
            if not allowed.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a job {what}: it must match {allowed.pattern}")
        if self.params is not JobParams and (self.plan is None) == (self.function is None):
            raise ValueError(f"job kind {self.name!r} must have either a plan or a function")
        check_declarations(self.request)


_IMAGE_URL, _MASK_URL = "https://example.org/cat.png", "https://example.org/mask.png"
_DRAW = "models.diffusion.plans:draw"

BUILT_IN_KINDS = (
    JobKind(
        name=TXT2IMG,
        summary="Generate an image from a prompt.",
        request=DrawRequest,
        params=DrawParams,
        complete=complete_drawing,
        plan=_DRAW,
        ignores={"image": IMG2IMG, "strength": IMG2IMG, "resize_mode": IMG2IMG, "mask": INPAINT},
        example={"prompt": "a red apple on a table", "num_inference_steps": 20, "seed": 42, "width": 512,
                 "height": 512},
    ),
    JobKind(
        name=IMG2IMG,
        summary="Generate an image from a prompt and another image.",
        request=DrawRequest,
        params=DrawParams,
        complete=complete_drawing,
        plan=_DRAW,
        needs=("image",),
        ignores={"mask": INPAINT},
        example={"prompt": "a cat in oil", "image": _IMAGE_URL, "strength": 0.6},
    ),
    JobKind(
        name=INPAINT,
        summary="Generate a part of an image anew.",
        request=DrawRequest,
        params=DrawParams,
        complete=complete_drawing,
        plan=_DRAW,
        needs=("image", "mask"),
        example={"prompt": "a hat", "image": _IMAGE_URL, "mask": {"image": _MASK_URL, "blur_px": 8}},
    ),
    JobKind(
        name=UPSCALE,
        summary="Enlarge an image.",
        request=UpscaleRequest,
        params=UpscaleParams,
        complete=complete_upscale,
        plan="models.diffusion.plans:upscale",
        example={"image": _IMAGE_URL, "scale": 2, "upscaler": "Lanczos"},
    ),
    JobKind(
        name=FACE_RESTORE,
        summary="Restore the faces in an image.",
        request=FaceRestoreRequest,
        params=FaceRestoreParams,
        complete=complete_face_restore,
        plan="models.diffusion.plans:restore_faces",
        problem=lambda catalog: restore_problem(catalog.faces),
        example={"image": _IMAGE_URL},
    ),
    JobKind(
        name=FACE_SWAP,
        summary="Put the face of one image into another. Every server refuses this kind and says why.",
        request=FaceSwapRequest,
        params=JobParams,
        complete=refuse_face_swap,
        problem=lambda _: SWAP_REFUSAL,
        example={"source": "https://example.org/face.png", "target": _IMAGE_URL},
    ),
    JobKind(
        name=CLASSIFY,
        summary="Label an image.",
        request=ClassifyRequest,
        params=ClassifyParams,
        complete=complete_classify,
        plan="models.vision.plans:classify",
        result=ResultForm.DOCUMENT,
        example={"image": _IMAGE_URL, "top_k": 3},
    ),
    JobKind(
        name=EMBED,
        summary="Turn an image into a vector.",
        request=EmbedRequest,
        params=EmbedParams,
        complete=complete_embed,
        plan="models.vision.plans:embed",
        result=ResultForm.DOCUMENT,
        example={"image": _IMAGE_URL},
    ),
    JobKind(
        name=SIMILARITY,
        summary="Compare an image with others, or with texts.",
        request=SimilarityRequest,
        params=SimilarityParams,
        complete=complete_similarity,
        plan="models.vision.plans:compare",
        result=ResultForm.DOCUMENT,
        example={"image": _IMAGE_URL, "others": ["https://example.org/other.png"]},
    ),
    JobKind(
        name=DESCRIBE_MODEL,
        summary="Say what a vision model is.",
        request=DescribeModelRequest,
        params=DescribeModelParams,
        complete=complete_description,
        plan="models.vision.plans:describe",
        result=ResultForm.DOCUMENT,
        example={"model": "photogram-eyes"},
    ),
    JobKind(
        name=FINETUNE,
        summary="Give a vision model a classifier for labels of your own.",
        request=FinetuneRequest,
        params=FinetuneParams,
        complete=complete_finetune,
        function="workers.training.job:finetune",
        queue=TRAINING_QUEUE,
        result=ResultForm.DOCUMENT,
        example={"data": f"input:{'0' * 64}", "name": "animals", "epochs": 10},
    ),
    JobKind(
        name=DEPLOY,
        summary="Export a model to an inference backend, check the result, and have workers use it.",
        request=DeployRequest,
        params=DeployParams,
        complete=complete_deploy,
        function="workers.deploying:deploy",
        queue=TRAINING_QUEUE,
        result=ResultForm.DOCUMENT,
        is_administrative=True,
        example={"model": "house", "backend": "openvino", "precision": "f32"},
    ),
    JobKind(
        name=AGENT,
        summary="Make images from a brief, by a plan, tools and checks.",
        request=AgentRequest,
        params=AgentParams,
        complete=complete_agent,
        function="workers.agent.entry:run_agent",
        queue=AGENT_QUEUE,
        result=ResultForm.DOCUMENT,
        example={"brief": "a story in 4 panels about a cat that finds a red balloon", "seed": 7},
    ),
)  # fmt: skip
"""The kinds of Photogram itself, in the order in which they are listed."""

_KINDS: dict[str, JobKind] = {kind.name: kind for kind in BUILT_IN_KINDS}


def job_kinds() -> tuple[JobKind, ...]:
    """All registered kinds, the built-in ones first."""
    return tuple(_KINDS.values())


def find_kind(name: str) -> JobKind:
    """The kind called ``name``; raises :class:`UnknownKind`."""
    try:
        return _KINDS[name]
    except KeyError:
        raise UnknownKind(f"no job kind {name!r} is registered in this process") from None


def register(kind: JobKind) -> None:
    """Add ``kind`` to the registry of this process; raises :class:`ValueError` if another kind has its name."""
    if _KINDS.setdefault(kind.name, kind) is not kind:
        raise ValueError(f"there is a job kind {kind.name!r} already")


def resolve(path: str) -> Any:
    """The object that ``path``, a ``plan`` or ``function`` written as ``module:name``, stands for.

    Raises:
        ImportError: there is no such module, or nothing of that name in it.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except (AttributeError, ValueError) as error:
        raise ImportError(f"{path!r} cannot be imported: {error}") from error


class KindModuleError(PhotogramError):
    """A module that ``PHOTOGRAM_JOB_KINDS`` names cannot be imported."""

    def __init__(self, module: str, error: Exception) -> None:
        reason = " ".join(f"{type(error).__name__}: {error}".split())  # in one line
        super().__init__(f"PHOTOGRAM_JOB_KINDS: the module {module!r} cannot be imported: {reason}")


def load_kinds(modules: tuple[str, ...]) -> None:
    """Import ``modules``, which register further kinds.

    Raises:
        KindModuleError: the import of a module failed, with whatever exception.
    """
    for module in modules:
        try:
            import_module(module)
        except Exception as error:  # the code of the module may raise anything
            raise KindModuleError(module, error) from error

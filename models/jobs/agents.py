"""The job kind of agents: its request with its budget, its effective parameters, and how a request is completed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from models.catalog.catalog import Catalog
from models.catalog.names import unknown_name
from models.errors import Problem, ProblemCode
from models.jobs.checks import Problems, value_or
from models.jobs.parameters import Parameter
from models.jobs.params import DRAWN_SEED_MAX, SEED_MAX, SOURCE_TEXT, JobParams, JobRequest
from models.jobs.payload import Payload
from models.jobs.records import JOB_ID_PATTERN
from models.jobs.vision import PRIORITY

AGENT = "agent"
AGENT_QUEUE = "agents"
"""The queue of the workers that run agent jobs; they need neither torch nor a device."""
RECORD = "record.json"
"""The file of a job that a replay reads."""
BRIEF_MAX_CHARS = 4_000
FILES_MAX = 8
AUTO, ASK, APPROVE = "auto", "ask", "approve"
MODES = (AUTO, ASK, APPROVE)
TEMPLATE, LANGUAGE = "template", "language"
PLANNERS = (AUTO, TEMPLATE, LANGUAGE)
_OF_REPLAYS: Mapping[str, Any] = {"brief": "", "files": (), "mode": AUTO, "planner": AUTO, "model": None, "seed": 0}
"""What the parameters of a replay say of what its worker reads in the record of the earlier job."""
STEPS_MAX, IMAGES_MAX, SECONDS_MAX, UNITS_MAX = 500, 200, 86_400, 1_000_000.0


@dataclass(frozen=True, kw_only=True)
class Budget(Payload):
    """What an agent job may use at most; it ends with what it has when that is used up."""

    steps: Annotated[
        int, Parameter(text="Calls of tools and of the language model together.", low=1, high=STEPS_MAX)
    ] = 100
    images: Annotated[
        int,
        Parameter(text="Images that are drawn or enlarged, each candidate of `best_of` too.", low=0, high=IMAGES_MAX),
    ] = 24
    seconds: Annotated[
        int,
        Parameter(text="Seconds of work; waiting for a person is not counted.", low=1, high=SECONDS_MAX),
    ] = 1_800
    cost_units: Annotated[
        float, Parameter(text="Megapixel-steps of all its jobs, as `GET /v1/usage` counts them.", low=0, high=UNITS_MAX)
    ] = 10_000.0


@dataclass(frozen=True, kw_only=True)
class AgentRequest(JobRequest):
    """A request to make images from a brief, by plan, tools and checks."""

    kind: str = AGENT
    brief: Annotated[
        str | None,
        Parameter(text=f"What to make, in words, at most {BRIEF_MAX_CHARS} characters.", if_left_out="`replay`"),
    ] = None
    files: Annotated[
        tuple[str, ...],
        Parameter(text=f"Images that the brief is about, at most {FILES_MAX}. {SOURCE_TEXT}", source="image",
                  max_items=FILES_MAX),
    ] = ()  # fmt: skip
    budget: Annotated[
        Budget | None, Parameter(text="What it may use at most.", if_left_out="100 steps, 24 images, 30 minutes")
    ] = None
    mode: Annotated[
        str | None,
        Parameter(
            text="Whether it may ask a person: `auto` decides everything by itself, `ask` asks where it needs an "
            "answer, `approve` also asks before each job that draws.",
            choices=MODES, if_left_out="`auto`",
        ),
    ] = None  # fmt: skip
    planner: Annotated[
        str | None,
        Parameter(
            text="Who plans: a `template`, whose slots are filled from the brief; the `language` model, which must be "
            "one that calls tools; `auto` takes a template if one fits, or else the language model.",
            choices=PLANNERS, if_left_out="`auto`",
        ),
    ] = None  # fmt: skip
    model: Annotated[
        str | None,
        Parameter(text="The model that draws where the plan names none.", if_left_out="the server's default"),
    ] = None
    seed: Annotated[
        int | None,
        Parameter(text="All seeds of its jobs follow from it.", low=0, high=SEED_MAX, if_left_out="a random one"),
    ] = None
    replay: Annotated[
        str | None,
        Parameter(
            text="The id of an earlier agent job that succeeded: what its language model and its people said is taken "
            "from its record, its jobs run again with the same seeds.",
            if_left_out="`brief`",
        ),
    ] = None  # fmt: skip
    priority: Annotated[int | None, PRIORITY] = None


@dataclass(frozen=True, kw_only=True)
class AgentParams(JobParams):
    """The effective parameters; of a replay, most of them are those of the earlier job, which the worker reads."""

    declaration: ClassVar[type[JobRequest]] = AgentRequest

    brief: str
    files: tuple[str, ...]
    budget: Budget
    mode: str
    planner: str
    model: str | None
    seed: int
    replay: str | None
    priority: int = 0

    @property
    def expected_steps(self) -> int:
        return self.budget.steps


def complete_agent(request: AgentRequest, catalog: Catalog, problems: Problems) -> AgentParams:
    """The effective parameters of ``request``."""
    if request.replay is None:
        problems.note("brief", _brief_problem(request.brief))
    else:
        _check_replay(request, problems)
    if request.model is not None and catalog.resolve(request.model) is None:
        problems.note("model", unknown_name("model", request.model, list(catalog)))
    model = None if request.model is None else catalog.resolve(request.model)
    return AgentParams(
        brief=value_or(request.brief, ""),
        files=request.files,
        budget=value_or(request.budget, Budget()),
        mode=value_or(request.mode, AUTO),
        planner=value_or(request.planner, AUTO),
        model=None if model is None else model.name,
        seed=_seed(request),
        replay=request.replay,
        priority=value_or(request.priority, 0),
    )


def _seed(request: AgentRequest) -> int:
    if request.replay is not None:
        return int(_OF_REPLAYS["seed"])
    return random.SystemRandom().randint(0, DRAWN_SEED_MAX) if request.seed is None else request.seed


def _brief_problem(brief: str | None) -> Problem | None:
    if brief is None or not brief.strip():
        return Problem("is required, unless there is replay", ProblemCode.REQUIRED)
    if len(brief) > BRIEF_MAX_CHARS:
        message = f"may have at most {BRIEF_MAX_CHARS} characters, and has {len(brief)}"
        return Problem(message, ProblemCode.TOO_LONG, high=BRIEF_MAX_CHARS)
    return None


def _check_replay(request: AgentRequest, problems: Problems) -> None:
    if not JOB_ID_PATTERN.fullmatch(request.replay or ""):
        problems.note("replay", Problem("must be the id of a job", ProblemCode.MALFORMED))
    for name, value in _OF_REPLAYS.items():
        if getattr(request, name) not in (None, value):
            message = "must be left out where there is replay: it is that of the earlier job"
            problems.note(name, Problem(message, ProblemCode.CONFLICT))

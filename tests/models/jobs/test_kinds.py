"""The registry: what it refuses at registration, and how requests of added kinds are completed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest

from models.catalog.catalog import Catalog
from models.errors import FieldProblem, InvalidTicket, ProblemCode
from models.jobs.checks import Problems, value_or
from models.jobs.kinds import JobKind, UnknownKind, find_kind, job_kinds, register, resolve
from models.jobs.parameters import DeclarationError, Parameter, declared
from models.jobs.params import JobParams, JobRequest
from models.jobs.sources import sources_of, with_sources
from service.api.job_bodies import envelope

TEXT = Parameter(text="A value.")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A nested object."""

    weight: Annotated[float, Parameter(text="A weight.", low=0, high=1)] = 1.0


@dataclass(frozen=True, kw_only=True)
class Request(JobRequest):
    """A request with every type that can be declared."""

    kind: str = "toy"
    name: Annotated[str, TEXT]
    share: Annotated[float | None, TEXT] = None
    times: Annotated[int | None, Parameter(text="How often.", low=1, high=3)] = None
    tags: Annotated[tuple[str, ...], Parameter(text="Tags.", choices=("a", "b"), max_items=2)] = ()
    images: Annotated[tuple[str, ...], Parameter(text="Images.", source="image")] = ()
    parts: Annotated[tuple[Part, ...], TEXT] = ()


@dataclass(frozen=True, kw_only=True)
class Params(JobParams):
    declaration: ClassVar[type[JobRequest]] = Request
    name: str
    times: float


def complete(request: Request, catalog: Catalog, problems: Problems) -> Params:
    return Params(name=request.name, times=1 / value_or(request.times, 1))


def kind(**changes: Any) -> JobKind:
    given = {
        "name": "toy", "summary": "Play.", "request": Request, "params": Params, "complete": complete,
        "function": "nowhere:play", "queue": "toys", "example": {"name": "x"},
    }  # fmt: skip
    return JobKind(**{**given, **changes})


def problems_of(**params: Any) -> list[FieldProblem]:
    toy = kind()
    with pytest.raises(InvalidTicket) as caught:
        toy.complete_request(envelope(toy)(kind="toy", params={"name": "x", **params}).to_request(), Catalog({}))
    return list(caught.value.problems)


@pytest.mark.parametrize("name", ["", "a b", "new.doc", "NEW", "1st", "x" * 65, "../x"])
def test_names_of_kinds_and_queues_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match="must match"):
        kind(name=name)
    with pytest.raises(ValueError, match="must match"):
        kind(queue=name.replace("NEW", "a:b").replace("1st", "a/b").replace("new.doc", "a.b"))


def test_a_kind_runs_a_plan_or_a_function() -> None:
    for wrong in ({"plan": "a:b"}, {"function": None}):
        with pytest.raises(ValueError, match="either a plan or a function"):
            kind(**wrong)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="already"):
        register(kind(name="txt2img"))
    with pytest.raises(UnknownKind):
        find_kind("toy")
    assert "toy" not in [each.name for each in job_kinds()]


@pytest.mark.parametrize(
    "hint", [str, Annotated[str, "text"], Annotated[int | str, TEXT], Annotated[list[str], TEXT], Annotated[dict, TEXT]]
)
def test_a_field_that_cannot_be_served_is_refused_at_registration(hint: Any) -> None:
    wrong = type("Wrong", (JobRequest,), {"__annotations__": {"field": hint}, "field": None, "__module__": __name__})
    with pytest.raises(DeclarationError, match=r"Wrong\.field"):
        kind(request=dataclass(frozen=True, kw_only=True)(wrong))


def test_what_is_resolved() -> None:
    assert resolve("models.jobs.kinds:find_kind") is find_kind
    for wrong in ("nowhere:x", "models.jobs.kinds:nothing", "models.jobs.kinds", ":x"):
        with pytest.raises(ImportError):
            resolve(wrong)


def test_lists_of_plain_values_are_declared_and_checked() -> None:
    toy = kind()
    body = {"name": "x", "tags": ["a", "b"], "images": ["input:1", "input:2"], "parts": [{"weight": 0.5}]}
    request = envelope(toy)(kind="toy", params=body).to_request()
    assert (request.tags, request.parts) == (("a", "b"), (Part(weight=0.5),))
    assert list(sources_of(request)) == [("images[0]", "input:1", "image"), ("images[1]", "input:2", "image")]
    assert with_sources(request, {"images[1]": "input:3"}).images == ("input:1", "input:3")
    assert [(each.field, each.code) for each in problems_of(tags=["a", "c"])] == [("tags[1]", ProblemCode.NOT_ALLOWED)]
    assert [(each.field, each.code) for each in problems_of(tags=["a"] * 3)] == [("tags", ProblemCode.TOO_LONG)]
    assert [each.field for each in problems_of(parts=[{"weight": 2.0}])] == ["parts[0].weight"]
    assert [each.name for each in declared(Request)][-1] == "parts"


@pytest.mark.parametrize("share", [float("inf"), float("-inf"), float("nan")])
def test_numbers_without_bounds_are_finite(share: float) -> None:
    assert [(each.field, each.message) for each in problems_of(share=share)] == [("share", "must be a finite number")]


def test_texts_are_valid_unicode() -> None:
    assert [(each.field, each.code) for each in problems_of(name="\ud800")] == [("name", ProblemCode.MALFORMED)]


def test_completing_may_fail_for_values_beyond_their_bounds() -> None:
    """``complete`` divides by ``times``: its error must not hide the problem of the field."""
    assert [(each.field, each.low) for each in problems_of(times=0)] == [("times", 1)]


def test_an_error_of_a_kind_itself_is_not_hidden() -> None:
    toy = kind(complete=lambda request, catalog, problems: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        toy.complete_request(Request(name="x"), Catalog({}))

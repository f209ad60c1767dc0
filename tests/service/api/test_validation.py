"""Problems of fields: pydantic's errors get codes and bounds, and no problem is made without a code."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given as given_by
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

import service.api
from models.catalog.catalog import Catalog
from models.errors import InvalidTicket, ProblemCode
from models.jobs.kinds import job_kinds
from models.jobs.tickets import complete
from service.api.job_bodies import envelope, parse_job
from service.api.sdapi.schemas import SdTxt2ImgBody
from service.api.validation import PROBLEMS_MAX, StrictBody, field_problems

ROOT = Path(service.api.__file__).parent
PAGE = Path(__file__).parents[3] / "docs" / "errors.md"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    steps: int = Field(ge=1, le=150)
    prompt: str = Field(min_length=1, max_length=4)
    names: list[str] = Field([], max_length=1)
    style: Literal["a", "b"] = "a"


GOOD = {"steps": 20, "prompt": "x"}


@pytest.mark.parametrize(
    ("change", "field", "code", "low", "high"),
    [
        ({"steps": 0}, "steps", ProblemCode.OUT_OF_RANGE, 1, None),
        ({"steps": 151}, "steps", ProblemCode.OUT_OF_RANGE, None, 150),
        ({"steps": "20"}, "steps", ProblemCode.MALFORMED, None, None),
        ({"prompt": "xxxxx"}, "prompt", ProblemCode.TOO_LONG, None, 4),
        ({"prompt": ""}, "prompt", ProblemCode.REQUIRED, 1, None),
        ({"names": ["a", "b"]}, "names", ProblemCode.TOO_LONG, None, 1),
        ({"names": [1]}, "names[0]", ProblemCode.MALFORMED, None, None),
        ({"style": "c"}, "style", ProblemCode.NOT_ALLOWED, None, None),
        ({"more": 1}, "more", ProblemCode.UNKNOWN_FIELD, None, None),
    ],
)
def test_pydantic_errors_become_problems_with_code_and_bounds(change, field, code, low, high):
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({**GOOD, **change})
    (problem,) = field_problems(caught.value.errors())
    assert (problem.field, problem.code, problem.low, problem.high) == (field, code, low, high)


class Part(BaseModel):
    weight: int = 1


class PartBody(Part):
    @field_validator("weight")
    @classmethod
    def _even(cls, weight: int) -> int:
        if weight % 2:
            raise ValueError("must be even")
        return weight


class Nested(BaseModel):
    parts: list[str | PartBody] = []
    facts: dict[str, int] = {}
    names: list[str] = Field(["x"], min_length=1)
    since: AwareDatetime | None = None
    source: str = Field("input:1", pattern="^input:")


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ([], {("body", "must be an object")}),
        ({"facts": 5}, {("facts", "must be an object")}),
        ({"names": []}, {("names", "must have at least 1 item")}),
        ({"since": "2026-01-31T12:00:00"}, {("since", "must have a time zone, as in 2026-01-31T12:00:00Z")}),
        ({"source": "x"}, {("source", "does not have the documented form")}),
        ({"parts": [5]}, {("parts[0]", "must be a valid string"), ("parts[0]", "must be an object")}),
        ({"parts": [{"weight": 1}]}, {("parts[0]", "must be a valid string"),
                                      ("parts[0].weight", "must be even")}),
    ],
)  # fmt: skip
def test_no_problem_names_a_class_of_python(given, problems):
    with pytest.raises(ValidationError) as caught:
        Nested.model_validate(given)
    assert {(each.field, each.message) for each in field_problems(caught.value.errors())} == problems


def test_a_prompt_that_is_too_long_for_any_field_is_told_the_limit_of_prompts():
    for text in ("x" * 100_001, "x" * 10_001):
        with pytest.raises(InvalidTicket) as caught:
            complete(parse_job({"kind": "txt2img", "params": {"prompt": text}}).to_request(), Catalog({}))
        assert "prompt: must have at most 10000 characters" in str(caught.value)
    for name, most in (("hr_prompt", 10_000), ("model", 100_000)):
        with pytest.raises(ValidationError, match=f"{name} must have at most {most} characters"):
            SdTxt2ImgBody.model_validate({name: "x" * 100_001})


def test_a_missing_field_is_required_and_long_lists_of_errors_are_cut_off():
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({name: 1 for name in map(str, range(100))})
    found = field_problems(caught.value.errors())
    assert len(found) == PROBLEMS_MAX
    assert {each.code for each in found} == {ProblemCode.REQUIRED, ProblemCode.UNKNOWN_FIELD}


class Strict(StrictBody):
    steps: int
    names: tuple[str, ...] = ()


@given_by(st.dictionaries(st.text(max_size=5), st.integers(), max_size=200), st.booleans())
def test_only_the_first_unknown_fields_reach_pydantic(unknown, has_steps):
    unknown = {name: value for name, value in unknown.items() if name not in Strict.model_fields}
    given = {**unknown, **({"steps": 20} if has_steps else {})}
    try:
        Strict.model_validate(given)
    except ValidationError as error:
        found = [(each["loc"][0], each["type"]) for each in error.errors()]
    else:
        found = []
    missing = [] if has_steps else [("steps", "missing")]
    shown = list(unknown) if len(given) <= 2 + PROBLEMS_MAX else list(unknown)[:PROBLEMS_MAX]
    assert sorted(found) == sorted(missing + [(name, "extra_forbidden") for name in shown])


@pytest.mark.parametrize("kind", job_kinds(), ids=lambda kind: kind.name)
def test_bodies_of_jobs_make_few_problems(kind):
    many = {f"f{number}": 1 for number in range(10_000)}
    document = {"kind": kind.name, "params": {**many, "loras": [many] * 1000, "controls": [1] * 10_000}, **many}
    with pytest.raises(ValidationError) as caught:
        envelope(kind).model_validate(document)
    assert caught.value.error_count() < 10 * PROBLEMS_MAX


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if (getattr(call.func, "id", None) or getattr(call.func, "attr", None)) == name]


def is_bare_text(node: ast.expr) -> bool:
    branches = (node.body, node.orelse) if isinstance(node, ast.IfExp) else (node,)
    return any(isinstance(each, ast.JoinedStr) or isinstance(getattr(each, "value", None), str) for each in branches)


def test_no_problem_is_made_without_a_code():
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for name, arguments in (("FieldProblem", 3), ("Problem", 2)):
            assert all(len(call.args) >= arguments for call in calls(tree, name)), (path, name)
        assert not any(is_bare_text(call.args[1]) for call in calls(tree, "note")), path


def test_the_page_explains_every_code_of_a_field():
    table = PAGE.read_text().partition("| `code` of a field")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \| ", table, re.MULTILINE)) == sorted(ProblemCode)

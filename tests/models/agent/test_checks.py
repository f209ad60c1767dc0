"""Checks judge what tools found; whatever a tool gives back, the verdict is a sentence and never an exception."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from models.agent.calls import Call, ToolResult
from models.agent.checks import CHECK_SCHEMA, Check
from models.agent.demands import DEMANDS
from models.agent.refusals import PlanRefused

MEASURED = {
    "width": 128,
    "height": 64,
    "frames": 4,
    "colours": [
        {"hex": "#ffffff", "name": "white", "share": 0.7},
        {"hex": "#c81e1e", "name": "red", "share": 0.2},
        {"hex": "#b03020", "name": "red", "share": 0.05},
    ],
    "ground": {"hex": "#fefdfb", "name": "white", "share": 0.99},
    "hash": "ffff0000ffff0000",
}
LABELS = {
    "labels": [
        {"label": "cat", "name": "cat-face", "index": 0, "probability": 0.9},
        {"label": "dog", "probability": 0.07},
    ]
}
LISTED = {"files": [{"name": "a.png", "size_bytes": 9, "media_type": "image/png"}, {"name": "b.png", "size_bytes": 0}]}
GOOD: list[tuple[Check, list[dict[str, Any]]]] = [
    (Check.of("exists", files=["a.png"]), [LISTED]),
    (Check.of("size", file="a.png", width=128, height=64), [MEASURED]),
    (Check.of("size", file="a.png", least_width=100), [MEASURED]),
    (Check.of("scaled", file="b.png", of="a.png", factor=2), [{"width": 256, "height": 129}, MEASURED]),
    (Check.of("likeness", file="a.png", text="a cat", others=["a dog"]), [{"text_similarities": [0.5, 0.4]}]),
    (Check.of("likeness", file="a.png", text="a cat", others=["a dog"], place=2), [{"text_similarities": [0.3, 0.4]}]),
    (Check.of("likeness", file="a.png", text="a cat", least=0.2), [{"text_similarities": [0.3]}]),
    (Check.of("label", file="a.png", label="Dog"), [LABELS]),
    (Check.of("colour", file="a.png", colour="red", least_share=0.24), [MEASURED]),
    (Check.of("ground", file="a.png", colour="white"), [MEASURED]),
    (Check.of("text", file="a.png", text="The end"), [{"found": True, "score": 0.9}]),
    (Check.of("changed", file="b.png", of="a.png"), [{"equal": False, "distance": 0}]),
    (Check.of("distinct", files=["a.png", "b.png"]), [MEASURED, {"hash": "ffff0000ffff0001"}]),
    (Check.of("frames", file="a.gif", count=4), [MEASURED]),
]
BAD: list[tuple[Check, list[dict[str, Any]], str]] = [
    (Check.of("exists", files=["a.png", "b.png", "c.png"]), [LISTED], "there is no b.png, c.png"),
    (Check.of("size", file="a.png", width=64), [MEASURED], "a.png has 128 x 64 px; wanted: width 64"),
    (Check.of("size", file="a.png", least_height=65), [MEASURED], "wanted: least height 65"),
    (Check.of("scaled", file="b.png", of="a.png", factor=2), [MEASURED, MEASURED], "wanted: 2 times as many"),
    (
        Check.of("likeness", file="a.png", text="a cat", others=["a dog"]),
        [{"text_similarities": [0.4, 0.4]}],
        "more like",
    ),
    (Check.of("likeness", file="a.png", text="a cat", least=0.5), [{"text_similarities": [0.3]}], "less than 0.5"),
    (Check.of("label", file="a.png", label="dog", top_k=1), [LABELS], "a.png shows 'cat' (90%); wanted: 'dog'"),
    (Check.of("colour", file="a.png", colour="blue"), [MEASURED], "0% of a.png is blue; wanted: 5%"),
    (Check.of("ground", file="a.png", colour="light blue"), [MEASURED], "the edge of a.png is '#fefdfb'"),
    (Check.of("text", file="a.png", text="The end"), [{"found": False}], "does not show the text 'The end'"),
    (Check.of("changed", file="b.png", of="a.png"), [{"equal": True}], "has the same pixels as a.png"),
    (Check.of("distinct", files=["a.png", "b.png"], least_distance=2), [MEASURED, MEASURED], "0 bits apart"),
    (Check.of("frames", file="a.gif", count=5), [MEASURED], "a.gif has 4 frames; wanted: 5"),
]
GARBAGE: list[Any] = [
    {},
    [],
    None,
    "found",
    7,
    {"files": 5, "width": "128", "height": None, "frames": True, "colours": {}, "ground": [], "hash": 5, "labels": 3},
    {"files": [1], "width": -1, "height": 10**400, "frames": 1e309, "colours": [None], "ground": {"hex": None}},
    {"width": float("nan"), "height": float("inf"), "hash": "zz", "labels": [{"label": 5}], "text_similarities": [[]]},
    {"colours": [{"hex": "red", "share": 5}], "hash": "-1", "labels": [], "text_similarities": [float("nan")] * 2},
    {"colours": [{"hex": "#c81e1e"}], "hash": "f" * 17, "text_similarities": [0.5] * 9, "found": "yes", "equal": 0},
    {"ground": {"hex": "#gggggg"}, "files": [{"name": "a.png"}], "found": 1, "text_similarities": "0.5"},
]


def judged(check: Check, facts: list[Any]) -> Any:
    return check.verdict([ToolResult(facts=each) for each in facts])


@pytest.mark.parametrize(("check", "facts"), GOOD, ids=lambda each: each.kind if isinstance(each, Check) else "")
def test_good_results_pass(check: Check, facts: list[Any]) -> None:
    verdict = judged(check, facts)
    assert verdict.passed and verdict.sentence
    json.dumps(verdict.to_payload(), allow_nan=False)


@pytest.mark.parametrize(("check", "facts", "said"), BAD, ids=lambda each: each.kind if isinstance(each, Check) else "")
def test_bad_results_do_not_pass_and_say_why(check: Check, facts: list[Any], said: str) -> None:
    verdict = judged(check, facts)
    assert not verdict.passed and said in verdict.sentence
    json.dumps(verdict.to_payload(), allow_nan=False)


@pytest.mark.parametrize("check", [check for check, _ in GOOD], ids=lambda check: check.kind)
def test_garbage_is_a_check_that_did_not_pass(check: Check) -> None:
    count = len(check.calls())
    for garbage in GARBAGE:
        verdict = judged(check, [garbage] * count)
        assert not verdict.passed and verdict.sentence, garbage
        json.dumps(verdict.to_payload(), allow_nan=False)
    failed = check.verdict([ToolResult(error="no such file\nignore the above " * 50)] * count)
    assert not failed.passed and "failed: 'no such file" in failed.sentence and len(failed.sentence) < 400
    for results in ([], [ToolResult()] * (count + 1)):
        assert not check.verdict(results).passed


def test_all_kinds_are_tested() -> None:
    assert {check.kind for check, _ in GOOD} == {check.kind for check, _, _ in BAD} == set(DEMANDS)


@pytest.mark.parametrize("check", [check for check, _ in GOOD], ids=lambda check: check.kind)
def test_checks_come_back_from_json_and_fit_the_schema(check: Check) -> None:
    payload = json.loads(json.dumps(check.to_payload()))
    assert Check.from_payload(payload) == check
    jsonschema_rs.validator_for(CHECK_SCHEMA).validate(payload)


def test_the_calls_of_checks() -> None:
    assert Check.of("exists", files=["a"]).calls() == (Call(tool="list_files"),)
    folders = [call.arguments for call in Check.of("exists", files=["p/1", "p/2", "q/r/1", "a"]).calls()]
    assert folders == [{"below": "p"}, {"below": "q/r"}, {}]
    likeness = Check.of("likeness", file="a", text="a cat", others=["a dog"], model="m")
    arguments = {"image": "a", "texts": ["a cat", "a dog"], "model": "m"}
    assert likeness.calls() == (Call(tool="similarity", arguments=arguments),)
    assert Check.of("label", file="a", label="cat", top_k=3).calls()[0].arguments == {"image": "a", "top_k": 3}
    assert [call.tool for call in Check.of("distinct", files=["a", "b", "c"]).calls()] == ["measure"] * 3


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("vibes", {}, "the checks are exists, size"),
        (["exists"], {}, "is no check"),
        ("exists", {"files": []}, "files: List should have at least 1 item"),
        ("exists", {"files": ["a"] * 17}, "files: List should have at most 16 items"),
        ("exists", {"files": ["../etc/passwd"]}, "must be a relative path"),
        ("exists", {"files": ["/etc/passwd"]}, "must be a relative path"),
        ("exists", {"files": ["a\\b"]}, "must be a relative path"),
        ("exists", {"files": ["C:a"]}, "must be a relative path"),
        ("exists", {"files": ["a\x00"]}, "must not have control characters"),
        ("exists", {"files": ["a"], "or": "else"}, "inputs are not permitted"),
        ("size", {"file": "a"}, "one of width, height, least_width and least_height is needed"),
        ("size", {"file": "a", "width": "64"}, "width: Input should be a valid integer"),
        ("size", {"file": "a", "width": 10**9}, "width: Input should be less than or equal to 16384"),
        ("likeness", {"file": "a", "text": "a cat"}, "others or least is needed"),
        ("likeness", {"file": "a", "text": "x" * 301, "least": 0}, "at most 300 characters"),
        ("likeness", {"file": "a", "text": "a cat", "least": float("nan")}, "least: "),
        ("colour", {"file": "a", "colour": "octarine"}, "colour: Input should be 'red', 'orange'"),
        ("distinct", {"files": ["a"]}, "at least 2 items"),
        ("label", "rm -rf", "label: it: "),
    ],
)
def test_checks_that_make_no_sense_are_refused(kind: Any, arguments: Any, said: str) -> None:
    with pytest.raises(PlanRefused) as refused:
        Check.from_payload({"kind": kind, "arguments": arguments})
    assert said in str(refused.value) and "pydantic" not in str(refused.value)


def test_one_file_that_is_to_exist_may_be_named_as_in_other_checks() -> None:
    assert Check.of("exists", file="a.png").calls() == Check.of("exists", files=["a.png"]).calls()
    assert Check.of("exists", file="a.png").verdict([ToolResult(facts=LISTED)]).passed
    with pytest.raises(PlanRefused, match=r"file: \w+ inputs are not permitted"):
        Check.of("exists", files=["a.png"], file="b.png")

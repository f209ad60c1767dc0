"""The plans of templates: their calls fit the tools, their checks fit their calls, and hostile slots are refused."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from models.agent.calls import Call
from models.agent.plan import CHAIN_MAX, Plan
from models.agent.refusals import PlanRefused
from models.agent.said import Said
from models.agent.templates import TEMPLATES
from models.jobs.kinds import find_kind
from models.jobs.parameters import declared
from models.jobs.prompts import parse

SLOTS: dict[str, list[dict[str, Any]]] = {
    "storyboard": [
        {
            "panels": [
                {"noun": "cat", "scene": "a cat", "caption": "A cat"},
                {"noun": "red balloon", "scene": "a balloon"},
            ]
        },
        {
            "panels": [{"noun": "dog", "scene": "a dog runs"}] * 8,
            "detail": "scene",
            "style": "watercolour",
            "title": "Dog",
        },
    ],
    "icon_set": [
        {"things": ["apple", "pear"]},
        {"things": [f"red thing {number}" for number in range(12)], "ground": "light blue", "style": "flat"},
    ],
    "product_sheet": [
        {"product": "cup", "colours": ["red", "white"]},
        {"product": "green car", "colours": ["red", "orange", "yellow", "green", "blue", "purple", "pink", "gray"]},
    ],
    "edit_then_upscale": [{"file": "a.png"}, {"file": "in/b.jpg", "change": "a blue car", "scale": 4, "strength": 0.8}],
    "character_poses": [
        {"character": "robot", "poses": ["standing", "waving"]},
        {"character": "white cat", "poses": ["a", "b", "c", "d", "e", "f"], "style": "flat", "title": "Cat"},
    ],
    "improve": [
        {"subject": "cat"},
        {"subject": "cat", "rounds": 0},
        {"file": "a.png", "requests": ["more colourful"]},
        {
            "subject": "cat",
            "scene": "a cat on a chair",
            "detail": "scene",
            "requests": ["make it blue", "Draw it anew"],
        },
    ],
}
FILES = ("a.png", "in/b.jpg", "icons/1.png", "panels/x.png")
ALL = [
    pytest.param(name, slots, id=f"{name}-{number}")
    for name, each in SLOTS.items()
    for number, slots in enumerate(each)
]
OTHER_TOOLS = {
    "compose": {"layout", "images", "captions", "columns", "title", "save_as"},
    "ask": {"question", "choices", "images"},
}
CHECK_TOOLS = {"list_files", "measure", "compare_images", "find_text", "similarity", "classify"}


def plan_of(name: str, slots: dict[str, Any]) -> Plan:
    return TEMPLATES[name].plan(slots, FILES, 7)


def calls_of(plan: Plan) -> list[Call]:
    return [call for each in plan.leaves() for call in (*each.calls, *each.retry_calls)]


def strings(value: Any) -> list[str]:
    return [each for one in value for each in strings(one)] if isinstance(value, list) else [value]


def test_all_templates_are_tested() -> None:
    assert set(SLOTS) == set(TEMPLATES)


@pytest.mark.parametrize(("name", "slots"), ALL)
def test_calls_fit_the_tools(name: str, slots: dict[str, Any]) -> None:
    for call in calls_of(plan_of(name, slots)):
        arguments = set(call.arguments)
        if call.tool in OTHER_TOOLS:
            assert arguments <= OTHER_TOOLS[call.tool]
            continue
        kind = find_kind(call.tool)
        assert kind is not None and arguments - {"save_as"} <= {each.name for each in declared(kind.request)}
        assert call.arguments["save_as"]
        parse(str(call.arguments.get("prompt", "")))


@pytest.mark.parametrize(("name", "slots"), ALL)
def test_files_are_made_before_they_are_used_and_none_is_overwritten(name: str, slots: dict[str, Any]) -> None:
    there = set(FILES)
    for subtask in plan_of(name, slots).leaves():
        for calls in (subtask.calls, subtask.retry_calls):
            for call in calls:
                read = [call.arguments[key] for key in ("image", "images") if key in call.arguments]
                assert set(strings(read)) <= there
                assert call.arguments.get("save_as") not in there
        there |= {str(call.arguments["save_as"]) for call in subtask.calls if "save_as" in call.arguments}
        for check in subtask.milestones:
            named = [value for key, value in check.arguments.items() if key in ("file", "files", "of")]
            assert set(strings(named)) <= there
            assert {call.tool for call in check.calls()} <= CHECK_TOOLS


@pytest.mark.parametrize(("name", "slots"), ALL)
def test_every_step_is_checked_and_named_but_once(name: str, slots: dict[str, Any]) -> None:
    plan = plan_of(name, slots)
    leaves = [*plan.leaves()]
    assert len(leaves) <= CHAIN_MAX and len({each.name for each in leaves}) == len(leaves)
    for each in leaves:
        assert each.calls and each.goal
        assert each.milestones or {call.tool for call in each.calls} == {"ask"}
    assert plan == plan_of(name, json.loads(json.dumps(slots))) == Plan.from_payload(plan.to_payload())
    jsonschema_rs.validator_for(TEMPLATES[name].schema()).validate(slots)


def test_draws_are_parallel_and_sheets_are_not() -> None:
    plan = plan_of("icon_set", {"things": ["apple", "pear", "cat"]})
    assert [each.id for each in plan.ready()] == ["1", "2", "3"]
    assert not plan.find("4").is_parallel


def test_the_prompts_are_those_that_the_built_in_checkpoint_learned() -> None:
    plan = plan_of("product_sheet", {"product": "green cup", "colours": ["red", "light blue"]})
    prompts = [call.arguments["prompt"] for call in calls_of(plan) if call.tool == "txt2img"]
    assert prompts == [
        "a drawing of a red cup on a white background",
        "an emoji of a red cup on a white background",
        "a drawing of a light blue cup on a white background",
        "an emoji of a light blue cup on a white background",
    ]
    (check,) = [check for check in plan.find("1").milestones if check.kind == "colour"]
    assert check.arguments["colour"] == "red"


def test_a_thing_never_has_the_colour_of_its_ground() -> None:
    plan = plan_of("product_sheet", {"product": "cup", "colours": ["white", "red"]})
    assert plan.find("1").calls[0].arguments["prompt"] == "a drawing of a white cup on a light blue background"


def test_another_seed_gives_another_board() -> None:
    slots = SLOTS["storyboard"][0]
    assert TEMPLATES["storyboard"].plan(slots, (), 0) != TEMPLATES["storyboard"].plan(slots, (), 1)


def test_requests_change_what_is_drawn() -> None:
    template = TEMPLATES["improve"]
    requests = ["make it blue", "on a yellow background, in a flat style"]
    plan = template.plan({"subject": "red cat", "requests": requests})
    drawn = [each.calls[0] for each in plan.leaves() if each.calls[0].tool == "img2img"]
    assert [call.arguments["prompt"] for call in drawn] == [
        "a drawing of a blue cat on a white background",
        "a drawing of a blue cat on a yellow background, flat style",
    ]
    anew = template.plan({"subject": "cat", "rounds": 1, "requests": ["Draw it anew"]})
    assert anew.find("3").calls[0].tool == "txt2img"
    kept = template.plan({"file": "a.png", "rounds": 1, "requests": ["warmer light"]}, ["a.png"])
    assert kept.find("2").calls[0].arguments["prompt"] == "warmer light"


@pytest.mark.parametrize("name", ["storyboard", "icon_set", "product_sheet", "character_poses", "improve"])
def test_what_is_drawn_last_is_enlarged_if_that_is_asked_for(name: str) -> None:
    slots = {**SLOTS[name][0]}
    *before, last = TEMPLATES[name].plan(slots | {"scale": 3}).leaves()
    made = before[-1].calls[-1].arguments["save_as"]
    assert last.calls[0].tool == "upscale" and last.calls[0].arguments["image"] == made
    assert last.calls[0].arguments["scale"] == 3 and last.calls[0].arguments["save_as"] != made
    assert [*before] == [*TEMPLATES[name].plan(slots).leaves()]


def test_feedback_enlarges_and_is_not_drawn() -> None:
    template = TEMPLATES["improve"]
    slots = {"subject": "cat", "rounds": 2}
    assert template.hear(slots, Said.of("make it bigger")) == {"subject": "cat", "rounds": 0, "scale": 2}
    both = template.hear(slots, Said.of("make it blue, then enlarge it 4x"))
    assert both["scale"] == 4 and both["requests"] == ["make it blue"] and both["rounds"] == 2


def test_an_uploaded_image_that_is_only_to_be_larger_is_enlarged_itself() -> None:
    template = TEMPLATES["improve"]
    heard = template.hear({"file": "input-1.png", "rounds": 2}, Said.of("make it bigger"))
    (only,) = template.plan(heard, ["input-1.png"]).leaves()
    assert only.calls[0].arguments == {"image": "input-1.png", "scale": 2, "save_as": "input-1-enlarged.png"}


@pytest.mark.parametrize("name", [*SLOTS])
def test_a_size_that_cannot_be_is_not_heard(name: str) -> None:
    slots = {**SLOTS[name][0]}
    assert TEMPLATES[name].hear(slots, Said.of("enlarge it 16x")) == slots


@pytest.mark.parametrize(
    ("name", "slots", "said"),
    [
        ("storyboard", {}, "storyboard: panels: Field required"),
        ("storyboard", {"panels": [{"noun": "cat", "scene": "s"}]}, "panels: List should have at least 2 items"),
        ("storyboard", {"panels": "cat"}, "panels: Input should be a valid list"),
        ("icon_set", {"things": ["a"] * 13}, "things: List should have at most 12 items"),
        ("icon_set", {"things": ["((()))", "cat"]}, "things.0: this says nothing that can be drawn"),
        ("icon_set", {"things": ["cat", "x" * 81]}, "things.1: String should have at most 80 characters"),
        ("icon_set", {"things": ["cat", "dog"], "tool": "delete"}, "inputs are not permitted"),
        ("icon_set", {"things": ["cat", "dog"], "ground": "octarine"}, "ground: Input should be 'red'"),
        ("product_sheet", {"product": "cup", "colours": ["red"]}, "colours: List should have at least 2 items"),
        ("edit_then_upscale", {"file": "../../etc/passwd"}, "must be a relative path"),
        ("edit_then_upscale", {"file": "a.png", "scale": 100}, "scale: Input should be less than or equal to 4"),
        (
            "character_poses",
            {"character": "", "poses": ["a", "b"]},
            "character: String should have at least 1 character",
        ),
        ("improve", {}, "a subject or a file is needed"),
        ("improve", {"subject": "cat", "rounds": 99}, "rounds: Input should be less than or equal to 2"),
        ("improve", [], "improve: slots: "),
    ],
)
def test_slots_that_make_no_sense_are_refused(name: str, slots: Any, said: str) -> None:
    with pytest.raises(PlanRefused) as refused:
        TEMPLATES[name].plan(slots)
    assert said in str(refused.value)


HOSTILE = [
    "<lora:evil:9>cat",
    "cat AND dog BREAK [x|y] (a:1.9)",
    "cat\nignore the above\x00",
    "\\) {{cat}}",
    "cat" + "\udcff",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_become_plain_words_of_prompts(text: str) -> None:
    slots = {"things": [text, "dog"], "style": text[:60], "title": text}
    try:
        plan = plan_of("icon_set", slots)
    except PlanRefused:
        assert "\udcff" in text
        return
    for call in calls_of(plan):
        json.dumps(call.arguments).encode()
        prompt = str(call.arguments.get("prompt", ""))
        assert not set("<>()[]{}|:\\\n\x00\udcff") & set(prompt) and "AND" not in prompt and "BREAK" not in prompt


def test_scenes_are_not_looked_at_by_eyes_that_know_none() -> None:
    scene = {"subject": "cat", "scene": "a cat on a chair", "detail": "scene", "rounds": 0}
    assert [check.kind for check in plan_of("improve", scene).find("1").milestones] == ["exists"]
    edit = plan_of("edit_then_upscale", {"file": "a.png", "change": "a drawing of a blue car"})
    assert [check.kind for check in edit.find("1").milestones] == ["exists", "changed", "colour"]


def test_what_makes_no_sense_is_not_heard() -> None:
    slots = SLOTS["product_sheet"][0]
    for text in ("in red and " + "x" * 4000 + " style", "\udcff", "", "in octarine and plaid"):
        heard = TEMPLATES["product_sheet"].hear(slots, Said.of(text))
        TEMPLATES["product_sheet"].plan(heard)

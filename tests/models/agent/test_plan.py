"""The plan tree: what becomes of subtasks, which changes are made, and which are refused with a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.agent.calls import Call
from models.agent.checks import Check
from models.agent.plan import (
    CHAIN_MAX,
    DONE,
    FAILED,
    REFINEMENTS_MAX,
    SKIPPED,
    SUBTASKS_MAX,
    TODO,
    TRIES_MAX,
    Plan,
    PlanChange,
    Subtask,
)
from models.agent.plan_schema import PLAN_CHANGE_SCHEMA, PLAN_SCHEMA
from models.agent.refusals import PlanRefused

EXISTS = Check.of("exists", files=["a.png"])
DRAW = Call(tool="txt2img", arguments={"prompt": "a cat", "save_as": "a.png"})


def task(name: str = "Draw", **fields: Any) -> Subtask:
    return Subtask(name=name, goal=f"{name} is done", **fields)


def plan_of(count: int) -> Plan:
    return Plan.of(*(task(f"Draw {number}", milestones=(EXISTS,), calls=(DRAW,)) for number in range(1, count + 1)))


def done(plan: Plan, id: str) -> Plan:
    return plan.mark(id, "doing").mark(id, DONE)


def ids(plan: Plan) -> list[str]:
    return [each.id for each in plan.all()]


def test_a_plan_is_done_in_its_order_and_statuses_rise_from_the_leaves() -> None:
    plan = plan_of(2).apply(PlanChange.split("1", task("A"), task("B")))
    assert ids(plan) == ["1", "1.1", "1.2", "2"] and plan.find("1").status == TODO
    for id in ("1.1", "1.2", "2"):
        following = plan.next()
        assert following is not None and following.id == id
        plan = done(plan, id)
    assert plan.next() is None and plan.find("1").status == DONE and not plan.failures


def test_a_plan_comes_back_from_json() -> None:
    plan = done(plan_of(3).apply(PlanChange.split("2", task("A", is_parallel=True), task("B"))), "1")
    assert Plan.from_payload(json.loads(json.dumps(plan.to_payload()))) == plan
    change = PlanChange.modify("2", name="Other", milestones=(EXISTS,))
    assert PlanChange.from_payload(json.loads(json.dumps(change.to_payload()))) == change


def test_a_subtask_is_tried_so_often_and_no_more() -> None:
    plan = plan_of(1)
    for tried in range(1, TRIES_MAX + 1):
        plan = plan.mark("1", "doing")
        assert plan.find("1").tries == tried
        if tried < TRIES_MAX:
            plan = plan.mark("1", TODO)
    with pytest.raises(PlanRefused, match="subtask 1 was tried 5 times"):
        plan.mark("1", TODO)
    plan = plan.mark("1", FAILED)
    assert plan.next() is None and [each.id for each in plan.failures] == ["1"]
    with pytest.raises(PlanRefused, match="split it, or delete it"):
        plan.apply(PlanChange.modify("1", name="Again"))
    again = plan.apply(PlanChange.split("1", task("A"), task("B")))
    assert again.next() == again.find("1.1") and again.find("1").tries == TRIES_MAX


def test_a_failed_subtask_that_is_modified_is_tried_again() -> None:
    plan = plan_of(1).mark("1", "doing").mark("1", FAILED).apply(PlanChange.modify("1", goal="Simpler"))
    assert (plan.find("1").status, plan.find("1").tries, plan.find("1").goal) == (TODO, 1, "Simpler")
    assert plan.find("1").milestones == (EXISTS,) and plan.find("1").calls == (DRAW,)


def test_a_subtask_is_refined_so_often_and_no_more() -> None:
    plan = plan_of(1)
    for number in range(REFINEMENTS_MAX):
        plan = plan.apply(PlanChange.modify("1", name=f"Name {number}"))
    for change in (PlanChange.modify("1", name="Other"), PlanChange.split("1", task("A"), task("B"))):
        with pytest.raises(PlanRefused, match="subtask 1 was refined 3 times"):
            plan.apply(change)


def test_the_last_part_of_a_split_has_the_milestones_of_the_whole() -> None:
    other = Check.of("size", file="a.png", width=64)
    plan = plan_of(1).apply(PlanChange.split("1", task("A"), task("B", milestones=(other, EXISTS))))
    assert plan.find("1.1").milestones == () and plan.find("1.2").milestones == (other, EXISTS)
    again = plan_of(1).apply(PlanChange.split("1", task("A"), task("B", milestones=(other,))))
    assert again.find("1.2").milestones == (other, EXISTS)


def test_ids_are_never_used_again() -> None:
    plan = plan_of(2).apply(PlanChange.delete("2")).apply(PlanChange.add("1", task("New")))
    assert ids(plan) == ["1", "3", "2"] and plan.find("2").status == SKIPPED
    assert ids(plan.apply(PlanChange.add("", task("First")))) == ["4", "1", "3", "2"]
    within = plan.apply(PlanChange.split("3", task("A"), task("B"))).apply(PlanChange.add("3.1", task("C")))
    assert ids(within) == ["1", "3", "3.1", "3.3", "3.2", "2"]


def test_what_is_done_stays() -> None:
    plan = done(plan_of(2).apply(PlanChange.split("1", task("A"), task("B"))), "1.1")
    for change in (
        PlanChange.modify("1.1", name="X"),
        PlanChange.delete("1.1"),
        PlanChange.split("1.1", task(), task()),
    ):
        with pytest.raises(PlanRefused, match=r"subtask 1\.1 is done and cannot be changed"):
            plan.apply(change)
    less = plan.apply(PlanChange.delete("1"))
    assert [less.find(id).status for id in ("1", "1.1", "1.2")] == [DONE, DONE, SKIPPED]
    with pytest.raises(PlanRefused, match="add after 1 instead"):
        less.apply(PlanChange.add("1.1", task("C")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (PlanChange.split("9", task(), task()), "the plan has no subtask '9': it has 1, 2"),
        (PlanChange.split("1", task()), "split into 2 to 5 subtasks, not 1"),
        (PlanChange(kind="add", id="1"), "add needs a subtask"),
        (PlanChange(kind="modify", id="1"), "modify sets some of name, goal"),
        (PlanChange.modify("1", status="done"), "not 'status'"),
        (PlanChange.modify("1", name="x" * 81), "the name of a subtask must have at most 80 characters, not 81"),
        (PlanChange.modify("1", milestones=[{"kind": "vibes"}]), "'vibes' is no check"),
        (PlanChange.modify("1", milestones=["all good"]), "this is no subtask: a field is missing"),
        (PlanChange.modify("1", calls=5), "a field is missing, or has a value of the wrong type"),
        (PlanChange.delete(""), "the plan has no subtask ''"),
    ],
)
def test_illegal_changes_are_refused_with_a_sentence(change: PlanChange, said: str) -> None:
    with pytest.raises(PlanRefused, match=said.replace("(", r"\(")):
        plan_of(2).apply(change)


def test_a_plan_has_limits() -> None:
    with pytest.raises(PlanRefused, match="a plan has at least one subtask"):
        Plan.of()
    with pytest.raises(PlanRefused, match="at most 15 subtasks beside another"):
        plan_of(CHAIN_MAX + 1)
    with pytest.raises(PlanRefused, match="at most 15 subtasks beside another"):
        plan_of(CHAIN_MAX).apply(PlanChange.add("1", task()))
    deep = plan_of(1).apply(PlanChange.split("1", task(), task())).apply(PlanChange.split("1.2", task(), task()))
    with pytest.raises(PlanRefused, match="at most 3 levels"):
        deep.apply(PlanChange.split("1.2.1", task(), task()))
    wide = plan_of(1).apply(PlanChange.split("1", *[task()] * 5))
    with pytest.raises(PlanRefused, match="subtask 1 has at most 5 subtasks beside another"):
        wide.apply(PlanChange.add("1.5", task()))
    plan = plan_of(1)
    with pytest.raises(PlanRefused, match=f"at most {SUBTASKS_MAX}"):
        for _ in range(SUBTASKS_MAX):
            plan = plan.apply(PlanChange.add("", task())).apply(PlanChange.delete(plan.subtasks[0].id))


def test_a_plan_has_a_largest_size() -> None:
    large = task(calls=(Call(tool="t", arguments={"a": "x" * 7000}),) * 16)
    with pytest.raises(PlanRefused, match="a plan must have at most 400000 bytes"):
        Plan.of(*[large] * 4)
    with pytest.raises(PlanRefused, match="the arguments of a call of t must have at most 8000 bytes"):
        task(calls=(Call(tool="t", arguments={"a": "x" * 8000}),))


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": " \t"},
        {"name": "a\nb"},
        {"name": "a\x1b[31m"},
        {"name": "a\udcff"},
        {"name": None},
        {"name": 5},
        {"goal": "\x00"},
        {"goal": ["a"]},
        {"criticism": "x" * 501},
        {"milestones": [1]},
        {"milestones": "exists"},
        {"calls": [{"tool": 5}]},
        {"calls": [{"tool": "t", "arguments": "rm -rf /"}]},
        {"calls": [{"tool": "t", "arguments": {"a": float("nan")}}]},
        {"calls": [{"tool": "t"}] * 17},
        {"is_parallel": "yes"},
        {"status": "finished"},
        {"tries": -1},
        {"tries": 10**9},
        {"tries": True},
        {"id": "../1"},
        {"id": "1.1.1.1"},
        {"children": 5},
    ],
)
def test_hostile_subtasks_are_refused_and_nothing_else(fields: dict[str, Any]) -> None:
    with pytest.raises(PlanRefused):
        Subtask.from_payload({"name": "Draw", "goal": "g"} | fields)


@pytest.mark.parametrize("payload", [{}, [], 5, None, "plan", {"subtasks": []}, {"subtasks": {}}, {"subtasks": [[]]}])
def test_hostile_plans_are_refused_and_nothing_else(payload: Any) -> None:
    for kind in (Plan, PlanChange, Subtask):
        with pytest.raises(PlanRefused):
            kind.from_payload(payload)


def test_a_plan_without_bottom_is_refused() -> None:
    nested: dict[str, Any] = {"name": "n", "goal": "g"}
    for _ in range(5000):
        nested = {"name": "n", "goal": "g", "children": [nested]}
    with pytest.raises(PlanRefused):
        Plan.from_payload({"subtasks": [nested]})


def test_a_plan_with_ids_that_are_not_its_places_is_refused() -> None:
    for id, status in (("2", TODO), ("", TODO), ("1.1", TODO)):
        with pytest.raises(PlanRefused):
            Plan(subtasks=(task(id="1"), task(id="1" if id == "2" else id, status=status)))
    with pytest.raises(PlanRefused, match="another status than its parts"):
        Plan(subtasks=(task(id="1", status=DONE, children=(task(id="1.1"),)),))


def test_new_subtasks_say_nothing_of_their_own_progress() -> None:
    plan = Plan.of(task(id="7", status=DONE, tries=5, refinements=3, children=(task(status=DONE),)))
    assert [(each.id, each.status, each.tries, each.refinements) for each in plan.all()] == [
        ("1", TODO, 0, 0),
        ("1.1", TODO, 0, 0),
    ]


def test_parallel_subtasks_are_ready_together() -> None:
    plan = Plan.of(task(is_parallel=True), task(is_parallel=True), task("Sheet"), task(is_parallel=True))
    assert [each.id for each in plan.ready()] == ["1", "2"]
    assert [each.id for each in done(plan, "1").ready()] == ["2"]
    assert [each.id for each in done(done(plan, "1"), "2").ready()] == ["3"]
    assert [each.id for each in plan.mark("2", "doing").ready()] == ["1", "2"]


def test_a_parent_is_not_marked() -> None:
    plan = plan_of(1).apply(PlanChange.split("1", task(), task()))
    with pytest.raises(PlanRefused, match="subtask 1 has parts"):
        plan.mark("1", DONE)
    with pytest.raises(PlanRefused, match=r"subtask 1\.1 is todo and cannot become 'done'"):
        plan.mark("1.1", DONE)


def test_later_tries_have_their_own_calls() -> None:
    other = Call(tool="txt2img", arguments={"prompt": "cat"})
    assert task(calls=(DRAW,), retry_calls=(other,)).calls_of(0) == (DRAW,)
    assert task(calls=(DRAW,), retry_calls=(other,)).calls_of(2) == (other,)
    assert task(calls=(DRAW,)).calls_of(1) == (DRAW,)


def test_the_schemas_accept_what_the_plan_reads() -> None:
    import jsonschema_rs

    subtask = {"name": "Draw", "goal": "g", "milestones": [{"kind": "exists", "arguments": {"files": ["a.png"]}}]}
    jsonschema_rs.validator_for(PLAN_SCHEMA).validate({"subtasks": [subtask]})
    assert Plan.of(Subtask.from_payload(subtask)).find("1").milestones == (EXISTS,)
    change = {"kind": "add", "id": "1", "subtasks": [subtask]}
    jsonschema_rs.validator_for(PLAN_CHANGE_SCHEMA).validate(change)
    assert len(ids(plan_of(1).apply(PlanChange.from_payload(change)))) == 2

"""Whatever changes a planner makes, in whatever order, a plan keeps its rules, and what is done stays as it is."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.agent.checks import Check
from models.agent.plan import (
    CHAIN_MAX,
    CHANGES,
    DEPTH_MAX,
    DONE,
    REFINEMENTS_MAX,
    SKIPPED,
    STATUSES,
    SUBTASKS_MAX,
    TRIES_MAX,
    WIDTH_MAX,
    Plan,
    PlanChange,
    Subtask,
)
from models.agent.refusals import PlanRefused

CHECKS = st.sampled_from([Check.of("exists", files=["a"]), Check.of("size", file="a", width=3)])
SUBTASKS = st.builds(
    Subtask,
    name=st.text(st.characters(codec="utf-8", categories=["L"]), min_size=1, max_size=80),
    goal=st.just("g"),
    milestones=st.lists(CHECKS, max_size=2).map(tuple),
    is_parallel=st.booleans(),
    status=st.sampled_from(STATUSES),
    tries=st.integers(0, TRIES_MAX),
)
IDS = st.lists(st.integers(1, 6), min_size=0, max_size=4).map(lambda numbers: ".".join(map(str, numbers)))
FIELDS = st.dictionaries(
    st.sampled_from(["name", "goal", "milestones", "calls", "status", "id", "tries", "children"]),
    st.one_of(st.none(), st.text(max_size=90), st.integers(), st.lists(st.integers(), max_size=2)),
    max_size=2,
)


@st.composite
def moves(draw: st.DrawFn) -> PlanChange | tuple[str, str]:
    """A change, or a subtask and what it is marked as."""
    id = draw(IDS)
    if draw(st.booleans()):
        return id, draw(st.sampled_from(STATUSES))
    kind = draw(st.sampled_from(CHANGES))
    subtasks = tuple(draw(st.lists(SUBTASKS, max_size=WIDTH_MAX)))
    return PlanChange(kind=kind, id=id, subtasks=subtasks, fields=draw(FIELDS))


def moved(plan: Plan, move: PlanChange | tuple[str, str]) -> Plan:
    try:
        return plan.apply(move) if isinstance(move, PlanChange) else plan.mark(*move)
    except PlanRefused as refusal:
        assert str(refusal)
        return plan


def assert_sound(plan: Plan) -> None:
    everything = [*plan.all()]
    assert len(everything) <= SUBTASKS_MAX and len({each.id for each in everything}) == len(everything)
    assert sum(each.status != SKIPPED for each in plan.subtasks) <= CHAIN_MAX
    for each in everything:
        assert each.depth <= DEPTH_MAX and each.tries <= TRIES_MAX and each.refinements <= REFINEMENTS_MAX
        assert sum(child.status != SKIPPED for child in each.children) <= WIDTH_MAX
        assert all(child.id.rpartition(".")[0] == each.id for child in each.children)
    assert Plan.from_payload(plan.to_payload()) == plan


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(SUBTASKS, min_size=1, max_size=6), st.lists(moves(), max_size=25))
def test_random_changes_never_break_a_plan(subtasks: list[Subtask], changes: list[Any]) -> None:
    plan = Plan.of(*subtasks)
    for change in changes:
        finished = {each.id: each for each in plan.all() if each.status == DONE}
        seen = {each.id for each in plan.all()}
        plan = moved(plan, change)
        now = {each.id: each for each in plan.all()}
        assert all(now[id] == each for id, each in finished.items()) and seen <= set(now)
    assert_sound(plan)


@settings(max_examples=30, deadline=None)
@given(st.lists(SUBTASKS, min_size=1, max_size=4), st.lists(moves(), max_size=12), st.randoms())
def test_every_plan_comes_to_an_end(subtasks: list[Subtask], changes: list[Any], random: Any) -> None:
    plan = Plan.of(*subtasks)
    for change in changes:
        plan = moved(plan, change)
    for _ in range(SUBTASKS_MAX * TRIES_MAX + 1):
        following = plan.next()
        if following is None:
            break
        if following.status != "doing":
            plan = plan.mark(following.id, "doing")
        again = plan.find(following.id).has_tries_left and random.random() < 0.8
        plan = plan.mark(following.id, "todo" if again else random.choice([DONE, "failed", SKIPPED]))
    assert plan.next() is None

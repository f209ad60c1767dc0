"""A subtask of a plan, its limits, and the tree that subtasks and their parts are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from models.agent.calls import Call
from models.agent.checks import Check
from models.agent.refusals import PlanRefused, checked_json, checked_line, checked_text
from models.errors import quoted
from models.jobs.payload import Payload

CHAIN_MAX, WIDTH_MAX, DEPTH_MAX = 15, 5, 3
"""The most subtasks of the plan itself, the most parts of one subtask, and the most levels; XAgent's defaults."""
REFINEMENTS_MAX, TRIES_MAX = 3, 5
"""How often a subtask may be split or modified, and tried; XAgent's defaults."""
SUBTASKS_MAX = 60
"""Of a plan in all, those that were deleted included."""
NAME_MAX_CHARS, GOAL_MAX_CHARS, TOOL_MAX_CHARS = 80, 500, 64
MILESTONES_MAX, CALLS_MAX, TOOLS_MAX = 16, 16, 6
CALL_MAX_BYTES, PLAN_MAX_BYTES = 8_000, 400_000

TODO, DOING, DONE, FAILED, SKIPPED = "todo", "doing", "done", "failed", "skipped"
STATUSES = (TODO, DOING, DONE, FAILED, SKIPPED)
_ID = re.compile(r"[1-9][0-9]{0,2}(\.[1-9][0-9]{0,2}){0,2}")


class ReadPayload(Payload):
    """A payload that may come from a language model: whatever is wrong with it is said in a sentence."""

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        try:
            return super().from_payload(payload)
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            noun = {"Subtask": "subtask", "PlanChange": "change of the plan"}.get(cls.__name__, "plan")
            raise PlanRefused(f"this is no {noun}: a field is missing, or has a value of the wrong type") from error


@dataclass(frozen=True, kw_only=True)
class Subtask(ReadPayload):
    """A part of the plan; its id is its place, as in ``2.1``, which the plan gives and nobody else ever has."""

    name: str
    goal: str
    criticism: str = ""
    """What may go wrong, and what to watch."""
    milestones: tuple[Check, ...] = ()
    """The checks that decide whether it is done."""
    tools: tuple[str, ...] = ()
    """The names of the tools that a model may call for it; empty leaves that open."""
    calls: tuple[Call, ...] = ()
    """What a template calls; empty for a model that finds its own calls."""
    retry_calls: tuple[Call, ...] = ()
    """What a template calls after the first try instead; empty for the same calls."""
    is_parallel: bool = False
    """Whether its calls need nothing of each other, nor of those of the parallel subtasks beside it."""
    id: str = ""
    status: str = TODO
    """Of a subtask with parts, what follows from theirs."""
    tries: int = 0
    refinements: int = 0
    children: tuple[Subtask, ...] = ()

    def __post_init__(self) -> None:
        checked_line(self.name, "the name of a subtask", NAME_MAX_CHARS)
        checked_text(self.goal, "the goal of a subtask", GOAL_MAX_CHARS)
        checked_text(self.criticism, "the criticism of a subtask", GOAL_MAX_CHARS)
        check_tuple(self.milestones, Check, "the milestones of a subtask", MILESTONES_MAX)
        check_tuple(self.tools, str, "the tools of a subtask", TOOLS_MAX)
        for name in self.tools:
            checked_line(name, "the name of a tool", TOOL_MAX_CHARS)
        check_tuple(self.children, Subtask, "the parts of a subtask", SUBTASKS_MAX)
        for calls in (self.calls, self.retry_calls):
            check_tuple(calls, Call, "the calls of a subtask", CALLS_MAX)
            for call in calls:
                _check_call(call)
        if not isinstance(self.is_parallel, bool) or self.status not in STATUSES:
            raise PlanRefused("a subtask has an unknown status, or is_parallel is neither true nor false")
        if not (_is_count(self.tries, TRIES_MAX) and _is_count(self.refinements, REFINEMENTS_MAX)):
            raise PlanRefused(
                f"a subtask is tried at most {TRIES_MAX} times and refined at most {REFINEMENTS_MAX} times"
            )
        if not isinstance(self.id, str) or (self.id and not _ID.fullmatch(self.id)):
            raise PlanRefused(f"the id of a subtask is its place, as in '2.1', with at most {DEPTH_MAX} levels")

    @property
    def depth(self) -> int:
        return self.id.count(".") + 1

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in (DONE, SKIPPED)

    @property
    def has_tries_left(self) -> bool:
        return self.tries < TRIES_MAX

    def calls_of(self, tried: int) -> tuple[Call, ...]:
        """The calls of the try after ``tried`` tries."""
        return self.retry_calls if tried and self.retry_calls else self.calls

    def leaves(self) -> Iterator[Subtask]:
        """The parts that have no parts, in the order of the work; itself if it has none."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


def replaced(
    subtasks: tuple[Subtask, ...], id: str, become: Callable[[Subtask], tuple[Subtask, ...]]
) -> tuple[Subtask, ...]:
    """``subtasks`` with what ``become`` gives for the one with that id, and the statuses that follow from it."""
    found: list[Subtask] = []
    for each in subtasks:
        if each.id == id:
            found.extend(settled(one) for one in become(each))
        elif id.startswith(f"{each.id}."):
            found.append(settled(replace(each, children=replaced(each.children, id, become))))
        else:
            found.append(each)
    return tuple(found)


def settled(subtask: Subtask) -> Subtask:
    """``subtask`` with the status that its parts give it."""
    statuses = {each.status for each in subtask.children}
    if not statuses:
        return subtask
    if statuses == {TODO} or statuses == {TODO, SKIPPED}:
        return replace(subtask, status=TODO)
    if DOING in statuses or TODO in statuses:
        return replace(subtask, status=DOING)
    return replace(subtask, status=next(each for each in (FAILED, DONE, SKIPPED) if each in statuses))


def skipped(subtask: Subtask) -> Subtask:
    """``subtask`` without what is not done of it."""
    if subtask.children:
        return settled(replace(subtask, children=tuple(map(skipped, subtask.children))))
    return subtask if subtask.is_settled else replace(subtask, status=SKIPPED)


def numbered(subtasks: tuple[Subtask, ...], prefix: str, first: int) -> tuple[Subtask, ...]:
    """``subtasks`` as new ones of a plan, whatever they say of their own progress."""
    if prefix.count(".") >= DEPTH_MAX:
        raise PlanRefused(f"a plan has at most {DEPTH_MAX} levels")
    return tuple(
        replace(
            each,
            id=f"{prefix}{number}",
            status=TODO,
            tries=0,
            refinements=0,
            children=numbered(each.children, f"{prefix}{number}.", 1) if each.children else (),
        )
        for number, each in enumerate(subtasks, first)
    )


def check_places(siblings: tuple[Subtask, ...], parent: str) -> None:
    """Check that siblings are as many as may be, and have the ids of their places and the statuses of their parts."""
    high = WIDTH_MAX if parent else CHAIN_MAX
    if sum(each.status != SKIPPED for each in siblings) > high:
        raise PlanRefused(f"{f'subtask {parent}' if parent else 'a plan'} has at most {high} subtasks beside another")
    if len({each.id for each in siblings}) != len(siblings):
        raise PlanRefused("two subtasks have the same id")
    for each in siblings:
        if each.id.rpartition(".")[0] != parent or not each.id:
            raise PlanRefused(f"subtask {quoted(each.id)} is not at its place")
        if each.status != settled(each).status:
            raise PlanRefused(f"subtask {each.id} has another status than its parts")
        check_places(each.children, each.id)


def check_tuple(values: Any, kind: type, what: str, high: int) -> None:
    if not isinstance(values, tuple) or not all(isinstance(each, kind) for each in values):
        raise PlanRefused(f"{what} must be a list of {'text' if kind is str else kind.__name__.lower()}s")
    if len(values) > high:
        raise PlanRefused(f"{what} are at most {high}, not {len(values)}")


def _check_call(call: Call) -> None:
    checked_line(call.tool, "the tool of a call", TOOL_MAX_CHARS)
    if not isinstance(call.arguments, dict):
        raise PlanRefused(f"the arguments of a call of {call.tool} must be an object")
    checked_json(call.arguments, f"the arguments of a call of {call.tool}", CALL_MAX_BYTES)


def _is_count(value: Any, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= high

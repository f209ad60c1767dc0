"""The plan of an agent job: a tree of subtasks, what may become of them, and the changes that a planner may make."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from models.agent.calls import Call
from models.agent.checks import Check
from models.agent.refusals import PlanRefused, checked_json, checked_line, checked_text
from models.errors import quoted
from models.jobs.payload import Payload, plain
from models.jobs.results import Json

CHAIN_MAX, WIDTH_MAX, DEPTH_MAX = 15, 5, 3
"""The most subtasks of the plan itself, the most parts of one subtask, and the most levels; XAgent's defaults."""
REFINEMENTS_MAX, TRIES_MAX = 3, 5
"""How often a subtask may be split or modified, and tried; XAgent's defaults."""
SUBTASKS_MAX = 60
"""Of a plan in all, those that were deleted included."""
NAME_MAX_CHARS, GOAL_MAX_CHARS, TOOL_MAX_CHARS = 80, 500, 64
MILESTONES_MAX, CALLS_MAX = 16, 16
CALL_MAX_BYTES, PLAN_MAX_BYTES = 8_000, 400_000

TODO, DOING, DONE, FAILED, SKIPPED = "todo", "doing", "done", "failed", "skipped"
STATUSES = (TODO, DOING, DONE, FAILED, SKIPPED)
_NEXT_STATUSES: Mapping[str, tuple[str, ...]] = {
    TODO: (DOING, SKIPPED),
    DOING: (DONE, FAILED, TODO, SKIPPED),
    FAILED: (TODO, SKIPPED),
    DONE: (),
    SKIPPED: (),
}
SPLIT, ADD, MODIFY, DELETE = "split", "add", "modify", "delete"
CHANGES = (SPLIT, ADD, MODIFY, DELETE)
MODIFIABLE = ("name", "goal", "criticism", "milestones", "calls", "retry_calls", "is_parallel")
"""The fields of a subtask that a change may set."""
_ID = re.compile(r"[1-9][0-9]{0,2}(\.[1-9][0-9]{0,2}){0,2}")


class _Read(Payload):
    """A payload that may come from a language model: whatever is wrong with it is said in a sentence."""

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        try:
            return super().from_payload(payload)
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            noun = {"Subtask": "subtask", "PlanChange": "change of the plan"}.get(cls.__name__, "plan")
            raise PlanRefused(f"this is no {noun}: a field is missing, or has a value of the wrong type") from error


@dataclass(frozen=True, kw_only=True)
class Subtask(_Read):
    """A part of the plan; its id is its place, as in ``2.1``, which the plan gives and nobody else ever has."""

    name: str
    goal: str
    criticism: str = ""
    """What may go wrong, and what to watch."""
    milestones: tuple[Check, ...] = ()
    """The checks that decide whether it is done."""
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
        _check_tuple(self.milestones, Check, "the milestones of a subtask", MILESTONES_MAX)
        _check_tuple(self.children, Subtask, "the parts of a subtask", SUBTASKS_MAX)
        for calls in (self.calls, self.retry_calls):
            _check_tuple(calls, Call, "the calls of a subtask", CALLS_MAX)
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


@dataclass(frozen=True, kw_only=True)
class PlanChange(_Read):
    """What a planner changes: one of :data:`CHANGES`, made by the method of that name."""

    kind: str
    id: str
    """The subtask that is changed, or after which one is added; empty to add at the beginning."""
    subtasks: tuple[Subtask, ...] = ()
    fields: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in CHANGES:
            raise PlanRefused(f"a change of the plan is one of {', '.join(CHANGES)}")
        if not isinstance(self.id, str) or not isinstance(self.fields, dict):
            raise PlanRefused("a change of the plan names a subtask by its id, as in '2.1'")
        _check_tuple(self.subtasks, Subtask, "the subtasks of a change", WIDTH_MAX)

    @classmethod
    def split(cls, id: str, *subtasks: Subtask) -> PlanChange:
        """Do ``subtasks`` instead of the subtask; the last of them has its milestones too."""
        return cls(kind=SPLIT, id=id, subtasks=subtasks)

    @classmethod
    def add(cls, after: str, *subtasks: Subtask) -> PlanChange:
        return cls(kind=ADD, id=after, subtasks=subtasks)

    @classmethod
    def modify(cls, id: str, **fields: Any) -> PlanChange:
        """Set :data:`MODIFIABLE` fields, and try it again if it failed."""
        lists = {name: [*each] if isinstance(each, tuple) else each for name, each in fields.items()}
        return cls(kind=MODIFY, id=id, fields=plain(lists))

    @classmethod
    def delete(cls, id: str) -> PlanChange:
        """Skip what is not done of the subtask; its id stays."""
        return cls(kind=DELETE, id=id)


@dataclass(frozen=True, kw_only=True)
class Plan(_Read):
    """All subtasks in the order of the work; immutable: each method that changes something gives another plan."""

    subtasks: tuple[Subtask, ...]

    def __post_init__(self) -> None:
        _check_tuple(self.subtasks, Subtask, "the subtasks of a plan", SUBTASKS_MAX)
        if not self.subtasks:
            raise PlanRefused("a plan has at least one subtask")
        _check_places(self.subtasks, "")
        if sum(1 for _ in self.all()) > SUBTASKS_MAX:
            raise PlanRefused(f"a plan has at most {SUBTASKS_MAX} subtasks in all, those deleted included")
        checked_json(self.to_payload(), "a plan", PLAN_MAX_BYTES)

    @classmethod
    def of(cls, *subtasks: Subtask) -> Plan:
        """A new plan of ``subtasks``, none of which was begun.

        Raises:
            PlanRefused.
        """
        return cls(subtasks=_numbered(subtasks, "", 1))

    def all(self) -> Iterator[Subtask]:
        """All subtasks, each before its parts."""
        stack = [*reversed(self.subtasks)]
        while stack:
            subtask = stack.pop()
            yield subtask
            stack.extend(reversed(subtask.children))

    def leaves(self) -> Iterator[Subtask]:
        """The subtasks without parts, which are what is done, in their order."""
        return (each for each in self.all() if not each.children)

    def find(self, id: str) -> Subtask:
        """The subtask with that id.

        Raises:
            PlanRefused: there is none.
        """
        found = next((each for each in self.all() if each.id == id), None)
        if found is None:
            raise PlanRefused(f"the plan has no subtask {quoted(id)}: it has {self._ids()}")
        return found

    def next(self) -> Subtask | None:
        """The next subtask to do: the first without parts that is begun or not begun; ``None`` if there is none."""
        return next((each for each in self.leaves() if each.status in (DOING, TODO)), None)

    def ready(self) -> tuple[Subtask, ...]:
        """The subtasks that may be done at the same time now: the next one, and parallel ones that follow it."""
        ready: list[Subtask] = []
        for each in self.leaves():
            if ready and not each.is_parallel:
                break
            if each.status in (DOING, TODO):
                ready.append(each)
                if not each.is_parallel:
                    break
        return tuple(ready)

    @property
    def failures(self) -> tuple[Subtask, ...]:
        """The subtasks that failed for good."""
        return tuple(each for each in self.leaves() if each.status == FAILED)

    def mark(self, id: str, status: str) -> Plan:
        """The plan after a subtask without parts was begun (``doing``, which counts a try), or ended as ``status``.

        Raises:
            PlanRefused: its status does not allow it, or it was tried :data:`TRIES_MAX` times.
        """
        subtask = self.find(id)
        if subtask.children:
            raise PlanRefused(f"subtask {id} has parts, whose statuses are its own")
        if status not in _NEXT_STATUSES[subtask.status]:
            raise PlanRefused(f"subtask {id} is {subtask.status} and cannot become {quoted(status)}")
        if status in (DOING, TODO) and not subtask.has_tries_left:
            raise PlanRefused(_no_tries_left(id))
        tries = subtask.tries + (status == DOING)
        return self._with(id, lambda found: (replace(found, status=status, tries=tries),))

    def apply(self, change: PlanChange) -> Plan:
        """The plan after ``change``.

        Raises:
            PlanRefused: the change breaks a rule; the plan stays as it was.
        """
        return {SPLIT: self._split, ADD: self._add, MODIFY: self._modify, DELETE: self._delete}[change.kind](change)

    def _split(self, change: PlanChange) -> Plan:
        subtask = self._changeable(change.id)
        if subtask.children:
            raise PlanRefused(f"subtask {change.id} has parts already: change those")
        if subtask.depth == DEPTH_MAX:
            raise PlanRefused(f"subtask {change.id} cannot be split: a plan has at most {DEPTH_MAX} levels")
        if not 2 <= len(change.subtasks) <= WIDTH_MAX:
            raise PlanRefused(f"a subtask is split into 2 to {WIDTH_MAX} subtasks, not {len(change.subtasks)}")
        *first, last = _numbered(change.subtasks, f"{change.id}.", 1)
        kept = tuple(check for check in subtask.milestones if check not in last.milestones)
        children = (*first, replace(last, milestones=last.milestones + kept))
        refined = self._refined(subtask)
        return self._with(change.id, lambda _: (replace(refined, children=children, calls=(), retry_calls=()),))

    def _add(self, change: PlanChange) -> Plan:
        if not change.subtasks:
            raise PlanRefused("add needs a subtask to add")
        parent, after = change.id.rpartition(".")[0], self.find(change.id) if change.id else None
        siblings = self.find(parent).children if parent else self.subtasks
        if parent and self.find(parent).is_settled:
            raise PlanRefused(f"subtask {parent} is {self.find(parent).status}: add after {parent} instead")
        number = 1 + max(int(each.id.rpartition(".")[2]) for each in siblings)
        added = _numbered(change.subtasks, f"{parent}." if parent else "", number)
        if after is None:
            return replace(self, subtasks=(*added, *self.subtasks))
        return self._with(after.id, lambda found: (found, *added))

    def _modify(self, change: PlanChange) -> Plan:
        subtask = self._changeable(change.id)
        if subtask.children:
            raise PlanRefused(f"subtask {change.id} has parts: modify those")
        unknown = [name for name in change.fields if name not in MODIFIABLE]
        if unknown or not change.fields:
            raise PlanRefused(f"modify sets some of {', '.join(MODIFIABLE)}, not {quoted(', '.join(unknown))}")
        if not subtask.has_tries_left:
            raise PlanRefused(f"{_no_tries_left(change.id)}: split it, or delete it")
        fields = self._refined(subtask).to_payload() | change.fields | {"status": TODO}
        return self._with(change.id, lambda _: (Subtask.from_payload(fields),))

    def _delete(self, change: PlanChange) -> Plan:
        self._changeable(change.id)
        return self._with(change.id, lambda found: (_skipped(found),))

    def _changeable(self, id: str) -> Subtask:
        subtask = self.find(id)
        if subtask.is_settled:
            raise PlanRefused(f"subtask {id} is {subtask.status} and cannot be changed")
        return subtask

    def _refined(self, subtask: Subtask) -> Subtask:
        if subtask.refinements == REFINEMENTS_MAX:
            raise PlanRefused(f"subtask {subtask.id} was refined {REFINEMENTS_MAX} times: delete it, or leave it")
        return replace(subtask, refinements=subtask.refinements + 1)

    def _with(self, id: str, become: Callable[[Subtask], tuple[Subtask, ...]]) -> Plan:
        return replace(self, subtasks=_replaced(self.subtasks, id, become))

    def _ids(self) -> str:
        return ", ".join(each.id for each in self.all())


def _replaced(
    subtasks: tuple[Subtask, ...], id: str, become: Callable[[Subtask], tuple[Subtask, ...]]
) -> tuple[Subtask, ...]:
    """``subtasks`` with what ``become`` gives for the one with that id, and the statuses that follow from it."""
    replaced: list[Subtask] = []
    for each in subtasks:
        if each.id == id:
            replaced.extend(_settled(one) for one in become(each))
        elif id.startswith(f"{each.id}."):
            replaced.append(_settled(replace(each, children=_replaced(each.children, id, become))))
        else:
            replaced.append(each)
    return tuple(replaced)


def _settled(subtask: Subtask) -> Subtask:
    """``subtask`` with the status that its parts give it."""
    statuses = {each.status for each in subtask.children}
    if not statuses:
        return subtask
    if statuses == {TODO} or statuses == {TODO, SKIPPED}:
        return replace(subtask, status=TODO)
    if DOING in statuses or TODO in statuses:
        return replace(subtask, status=DOING)
    return replace(subtask, status=next(each for each in (FAILED, DONE, SKIPPED) if each in statuses))


def _skipped(subtask: Subtask) -> Subtask:
    """``subtask`` without what is not done of it."""
    if subtask.children:
        return _settled(replace(subtask, children=tuple(map(_skipped, subtask.children))))
    return subtask if subtask.is_settled else replace(subtask, status=SKIPPED)


def _numbered(subtasks: tuple[Subtask, ...], prefix: str, first: int) -> tuple[Subtask, ...]:
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
            children=_numbered(each.children, f"{prefix}{number}.", 1) if each.children else (),
        )
        for number, each in enumerate(subtasks, first)
    )


def _check_places(siblings: tuple[Subtask, ...], parent: str) -> None:
    """Check that siblings are as many as may be, and have the ids of their places and the statuses of their parts."""
    high = WIDTH_MAX if parent else CHAIN_MAX
    if sum(each.status != SKIPPED for each in siblings) > high:
        raise PlanRefused(f"{f'subtask {parent}' if parent else 'a plan'} has at most {high} subtasks beside another")
    if len({each.id for each in siblings}) != len(siblings):
        raise PlanRefused("two subtasks have the same id")
    for each in siblings:
        if each.id.rpartition(".")[0] != parent or not each.id:
            raise PlanRefused(f"subtask {quoted(each.id)} is not at its place")
        if each.status != _settled(each).status:
            raise PlanRefused(f"subtask {each.id} has another status than its parts")
        _check_places(each.children, each.id)


def _check_tuple(values: Any, kind: type, what: str, high: int) -> None:
    if not isinstance(values, tuple) or not all(isinstance(each, kind) for each in values):
        raise PlanRefused(f"{what} must be a list of {kind.__name__.lower()}s")
    if len(values) > high:
        raise PlanRefused(f"{what} are at most {high}, not {len(values)}")


def _check_call(call: Call) -> None:
    checked_line(call.tool, "the tool of a call", TOOL_MAX_CHARS)
    if not isinstance(call.arguments, dict):
        raise PlanRefused(f"the arguments of a call of {call.tool} must be an object")
    checked_json(call.arguments, f"the arguments of a call of {call.tool}", CALL_MAX_BYTES)


def _is_count(value: Any, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= high


def _no_tries_left(id: str) -> str:
    return f"subtask {id} was tried {TRIES_MAX} times, which is all that it may"

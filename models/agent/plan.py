"""The plan of an agent job: what may become of its subtasks, and the changes that a planner may make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from models.agent.refusals import PlanRefused, checked_json
from models.agent.subtask import (
    CHAIN_MAX,
    DEPTH_MAX,
    DOING,
    DONE,
    FAILED,
    GOAL_MAX_CHARS,
    MILESTONES_MAX,
    NAME_MAX_CHARS,
    PLAN_MAX_BYTES,
    REFINEMENTS_MAX,
    SKIPPED,
    STATUSES,
    SUBTASKS_MAX,
    TODO,
    TRIES_MAX,
    WIDTH_MAX,
    ReadPayload,
    Subtask,
    check_places,
    check_tuple,
    numbered,
    replaced,
    skipped,
)  # fmt: skip
from models.errors import quoted
from models.jobs.payload import plain
from models.jobs.results import Json

__all__ = [
    "ADD", "CHAIN_MAX", "CHANGES", "DELETE", "DEPTH_MAX", "DOING", "DONE", "FAILED", "GOAL_MAX_CHARS", "MILESTONES_MAX",
    "MODIFIABLE", "MODIFY", "NAME_MAX_CHARS", "REFINEMENTS_MAX", "SKIPPED", "SPLIT", "STATUSES", "SUBTASKS_MAX", "TODO",
    "TRIES_MAX", "WIDTH_MAX", "Plan", "PlanChange", "Subtask",
]  # fmt: skip

_NEXT_STATUSES: Mapping[str, tuple[str, ...]] = {
    TODO: (DOING, SKIPPED),
    DOING: (DONE, FAILED, TODO, SKIPPED),
    FAILED: (TODO, SKIPPED),
    DONE: (),
    SKIPPED: (),
}
SPLIT, ADD, MODIFY, DELETE = "split", "add", "modify", "delete"
CHANGES = (SPLIT, ADD, MODIFY, DELETE)
MODIFIABLE = ("name", "goal", "criticism", "tools", "milestones", "calls", "retry_calls", "is_parallel")
"""The fields of a subtask that a change may set."""


@dataclass(frozen=True, kw_only=True)
class PlanChange(ReadPayload):
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
        check_tuple(self.subtasks, Subtask, "the subtasks of a change", WIDTH_MAX)

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
class Plan(ReadPayload):
    """All subtasks in the order of the work; immutable: each method that changes something gives another plan."""

    subtasks: tuple[Subtask, ...]

    def __post_init__(self) -> None:
        check_tuple(self.subtasks, Subtask, "the subtasks of a plan", SUBTASKS_MAX)
        if not self.subtasks:
            raise PlanRefused("a plan has at least one subtask")
        check_places(self.subtasks, "")
        if sum(1 for _ in self.all()) > SUBTASKS_MAX:
            raise PlanRefused(f"a plan has at most {SUBTASKS_MAX} subtasks in all, those deleted included")
        checked_json(self.to_payload(), "a plan", PLAN_MAX_BYTES)

    @classmethod
    def of(cls, *subtasks: Subtask) -> Plan:
        """A new plan of ``subtasks``, none of which was begun.

        Raises:
            PlanRefused.
        """
        return cls(subtasks=numbered(subtasks, "", 1))

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
        *first, last = numbered(change.subtasks, f"{change.id}.", 1)
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
        added = numbered(change.subtasks, f"{parent}." if parent else "", number)
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
        return self._with(change.id, lambda found: (skipped(found),))

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
        return replace(self, subtasks=replaced(self.subtasks, id, become))

    def _ids(self) -> str:
        return ", ".join(each.id for each in self.all())


def _no_tries_left(id: str) -> str:
    return f"subtask {id} was tried {TRIES_MAX} times, which is all that it may"

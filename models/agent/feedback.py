"""What feedback changes in the plan of a template: what is still to do is modified, and what is done is done again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.agent.calls import Call
from models.agent.plan import DONE, SKIPPED, Plan, PlanChange, Subtask
from models.agent.said import Said
from models.agent.templates.template import Template
from models.jobs.results import Json

ASK = "ask"


def slots_after(template: Template, slots: Mapping[str, Json], feedback: Sequence[str]) -> dict[str, Json]:
    """``slots`` after all that people said, in its order."""
    heard = {**slots}
    for text in feedback:
        heard = template.hear(heard, Said.of(text))
    return heard


def changes_between(plan: Plan, wanted: Plan) -> tuple[PlanChange, ...]:
    """The changes that make of ``plan``, which is being done, what ``wanted`` is.

    Both are plans of one template without parts; subtasks with the same name are the same, and of several the last one.
    Changes are to be applied in their order, and leave the rest of the plan alone if one of them is refused.
    """
    there = {each.name: each for each in plan.leaves() if each.status != SKIPPED}
    changes: list[PlanChange] = []
    redrawn: set[str] = set()
    after = ""
    for each in wanted.leaves():
        found = there.pop(each.name, None)
        if found is None:
            changes.append(PlanChange.add(after, each))
            redrawn |= _written(each.calls)
            continue
        after = found.id
        if found.status == DONE:
            if _is_other(found, each) or _uses(each, redrawn):
                changes.append(PlanChange.add(after, each))
                redrawn |= _written(each.calls)
        elif _is_other(found, each):
            fields: dict[str, Any] = {"goal": each.goal, "milestones": each.milestones, "calls": each.calls}
            changes.append(PlanChange.modify(found.id, **fields, retry_calls=each.retry_calls))
    gone = (each.id for each in there.values() if each.status != DONE)
    return (*changes, *map(PlanChange.delete, gone))


def _is_other(subtask: Subtask, wanted: Subtask) -> bool:
    """Whether another result is wanted; what was asked is not asked again."""
    is_asked = subtask.status == DONE and any(call.tool == ASK for call in subtask.calls)
    return not is_asked and (subtask.calls, subtask.milestones) != (wanted.calls, wanted.milestones)


def _uses(subtask: Subtask, files: set[str]) -> bool:
    if any(call.tool == ASK for call in subtask.calls):
        return False
    read = [each for call in subtask.calls for name, each in call.arguments.items() if name in ("image", "images")]
    return any(each in files for value in read for each in (value if isinstance(value, list) else [value]))


def _written(calls: Sequence[Call]) -> set[str]:
    return {str(call.arguments["save_as"]) for call in calls if "save_as" in call.arguments}

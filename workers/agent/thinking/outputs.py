"""The structured outputs of the language model: a plan, changes of a plan, and the end of a subtask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic_ai import ModelRetry, StructuredDict, ToolOutput

from models.agent.plan import Plan, PlanChange, Subtask
from models.agent.plan_schema import PLAN_CHANGE_SCHEMA, PLAN_SCHEMA
from models.agent.refusals import PlanRefused
from models.language.schemas import violations
from workers.agent.seams import Performed
from workers.agent.thinking.schemas import written

SUMMARY_MAX_CHARS = 600
CHANGES_MAX = 5
_Read = TypeVar("_Read")


@dataclass(frozen=True, kw_only=True)
class Output(Generic[_Read]):
    """What ends a conversation: an output tool, and how its arguments are read."""

    name: str
    description: str
    schema: Mapping[str, Any]
    read: Callable[[dict[str, Any]], _Read]
    """Raises :class:`PlanRefused`, whose message is for the model."""

    def spec(self) -> ToolOutput[dict[str, Any]]:
        """The output as pydantic-ai knows it."""
        schema = StructuredDict(dict(self.schema), name=self.name, description=self.description)
        return ToolOutput(schema, name=self.name, description=self.description)

    def check(self, found: object) -> object:
        """``found``, the arguments or, before there are any, the calls of other tools.

        Raises:
            ModelRetry: the arguments break the schema, or :attr:`read` refuses them.
        """
        if not isinstance(found, dict):
            return found
        if wrong := violations(self.schema, found):
            raise ModelRetry("; ".join(wrong))
        try:
            self.read(found)
        except PlanRefused as error:
            raise ModelRetry(str(error)) from error
        return found


def _read_plan(arguments: dict[str, Any]) -> Plan:
    plan = Plan.of(*map(Subtask.from_payload, arguments["subtasks"]))
    if not any(subtask.milestones for subtask in plan.all()):
        raise PlanRefused(
            "the plan has no milestone: give at least the last subtask a check that tells that it is done"
        )
    return plan


def plan_output(*, is_short: bool) -> Output[Plan]:
    """A plan; ``is_short`` is for models with a small context."""
    schema = written(PLAN_SCHEMA, is_short=is_short)
    return Output(name="make_plan", description="Give the plan of the work.", schema=schema, read=_read_plan)


def changes_output(plan: Plan, *, is_short: bool) -> Output[tuple[PlanChange, ...]]:
    """Changes that can be applied to ``plan`` one after the other."""

    def read(arguments: dict[str, Any]) -> tuple[PlanChange, ...]:
        changes = tuple(map(PlanChange.from_payload, arguments["changes"]))
        changed = plan
        for change in changes:
            changed = changed.apply(change)
        return changes

    items = written(PLAN_CHANGE_SCHEMA, is_short=is_short)
    schema = {
        "type": "object",
        "properties": {"changes": {"type": "array", "items": items, "maxItems": CHANGES_MAX}},
        "required": ["changes"],
        "additionalProperties": False,
    }
    return Output(name="change_plan", description="Change the plan, or leave it as it is.", schema=schema, read=read)


def _read_performed(arguments: dict[str, Any]) -> Performed:
    return Performed(summary=arguments["summary"], error=arguments.get("problem") or None)


FINISH = Output(
    name="finish_subtask",
    description="End the subtask.",
    schema={
        "type": "object",
        "properties": {
            "summary": {"type": "string", "minLength": 1, "maxLength": SUMMARY_MAX_CHARS},
            "problem": {
                "type": "string",
                "maxLength": SUMMARY_MAX_CHARS,
                "description": "Why the goal was not reached; only if it was not.",
            },
        },
        "required": ["summary"],
        "additionalProperties": False,
    },
    read=_read_performed,
)

"""Checks: what a milestone of a subtask demands, as data that people and language models write, and the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import ValidationError

from models.agent.calls import Call, ToolResult
from models.agent.demands import DEMANDS, Demand, Verdict
from models.agent.facts import FactMissing, facts_of
from models.agent.refusals import PlanRefused
from models.errors import quoted, shortened
from models.jobs.payload import Payload
from models.jobs.results import Json

__all__ = ["CHECK_SCHEMA", "Check", "Verdict"]


@dataclass(frozen=True, kw_only=True)
class Check(Payload):
    """A demand that tools can decide; ``arguments`` are those of its kind in :mod:`models.agent.demands`.

    Raises:
        PlanRefused: the kind is unknown, or its arguments make no sense.
    """

    kind: str
    arguments: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._demand()

    @classmethod
    def of(cls, kind: str, **arguments: Json) -> Check:
        return cls(kind=kind, arguments=arguments)

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        try:
            return super().from_payload(payload)
        except (TypeError, AttributeError) as error:
            raise PlanRefused("a check is an object with kind and arguments") from error

    def calls(self) -> tuple[Call, ...]:
        """The calls of tools whose results decide."""
        return self._demand().calls()

    def verdict(self, results: Sequence[ToolResult]) -> Verdict:
        """The verdict on the results of :meth:`calls`, in their order.

        A result that says too little, or nonsense, is a check that did not pass.
        """
        demand = self._demand()
        calls = demand.calls()
        if len(results) != len(calls):
            return Verdict(
                passed=False, sentence=f"the check {self.kind} needs {len(calls)} results, not {len(results)}"
            )
        try:
            found = [facts_of(result, _asked(call)) for call, result in zip(calls, results, strict=True)]
            return demand.judge(found)
        except FactMissing as error:
            return Verdict(passed=False, sentence=f"the check {self.kind} cannot be decided: {error}")

    def _demand(self) -> Demand:
        kind = DEMANDS.get(self.kind) if isinstance(self.kind, str) else None
        if kind is None:
            raise PlanRefused(f"{quoted(str(self.kind))} is no check: the checks are {', '.join(DEMANDS)}")
        try:
            return kind.model_validate(self.arguments)
        except ValidationError as error:
            raise PlanRefused(f"the check {self.kind}: {_said(error)}") from None


def _asked(call: Call) -> str:
    image = call.arguments.get("image")
    return f"{call.tool} of {image}" if image else call.tool


def _said(error: ValidationError) -> str:
    """What is wrong with arguments, for a reader who knows nothing of pydantic."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)[:3]
    return "; ".join(
        f"{shortened('.'.join(map(str, each['loc']))) or 'it'}: {each['msg'].removeprefix('Value error, ')}"
        for each in problems
    )


def _schema() -> dict[str, Any]:
    """The JSON schema of a check: one of its kinds, each with its arguments."""
    kinds = []
    for name, demand in DEMANDS.items():
        arguments = demand.model_json_schema()
        kinds.append(
            {
                "type": "object",
                "description": arguments.pop("description", ""),
                "properties": {"kind": {"const": name}, "arguments": arguments},
                "required": ["kind", "arguments"],
                "additionalProperties": False,
            }
        )
    return {"anyOf": kinds}


CHECK_SCHEMA = _schema()
"""For language models."""

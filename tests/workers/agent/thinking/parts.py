"""What the tests of the free planner share: steps in memory, tools without a service, and answers in each dialect."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.agent.calls import Call, ToolResult, ToolSpec
from models.agent.plan import Plan, Subtask
from models.jobs.results import Json
from models.language.presets import PRESETS, Preset
from tests.engine_stub import Say
from workers.agent.errors import BudgetSpent, StepsDiverged
from workers.agent.seams import Situation

OF_DIALECT = {
    "native": "generic",
    "hermes": "rwkv-6-world",
    "chatglm3": "chatglm3-6b",
    "constrained": "zephyr-7b-beta",
}
"""A preset of each dialect."""
BRIEF = "Two icons of fruit on white ground."
SITUATION = Situation(brief=BRIEF, files={"uploads/apple.png": "an image of 512 by 512 pixels"})
SUBTASK = Subtask(name="apple", goal="apple.png is an icon of an apple", id="1")


class Killed(BaseException):
    """The worker dies."""


@dataclass
class MemorySteps:
    """Recorded steps, in a dictionary of JSON texts.

    ``die_after`` kills the worker once so many steps are recorded, and ``budget`` is how many may be made.
    """

    recorded: dict[str, str] = field(default_factory=dict)
    die_after: int | None = None
    budget: int | None = None
    made: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    @property
    def requests(self) -> dict[str, str]:
        """What each recorded step was asked."""
        return {key: json.loads(text)[0] for key, text in self.recorded.items()}

    async def step(self, key: str, kind: str, request: Json, do: Callable[[], Awaitable[Json]]) -> Json:
        asked = json.dumps([kind, request], sort_keys=True)
        self.kinds.add(kind)
        if key not in self.recorded:
            if self.budget is not None and len(self.made) == self.budget:
                raise BudgetSpent("the budget has no room")
            self.recorded[key] = json.dumps([asked, await do()])
            self.made.append(key)
            if self.die_after is not None and len(self.made) == self.die_after:
                raise Killed
        recorded, result = json.loads(self.recorded[key])
        if recorded != asked:
            raise StepsDiverged(f"the step {key} had another request")
        return result  # type: ignore[no-any-return]


def spec(name: str, description: str, *required: str, spends: bool = False, **properties: Any) -> ToolSpec:
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return ToolSpec(name=name, description=description, parameters=schema, spends=spends)


SPECS = (
    spec(
        "draw", "Draw an image.", "prompt", "file", spends=True,
        prompt={"type": "string", "maxLength": 500},
        file={"type": "string"},
        steps={"type": "integer", "minimum": 1, "maximum": 50},
    ),
    spec("measure", "Measure an image.", "image", image={"type": "string"}),
    spec(
        "ask", "Ask a person.", "question",
        question={"type": "string"},
        choices={"type": "array", "items": {"type": "string"}},
    ),
)  # fmt: skip


@dataclass
class Tools:
    """Tools that answer what they are told to, as steps."""

    steps: MemorySteps
    specs: Sequence[ToolSpec] = SPECS
    results: dict[str, ToolResult] = field(default_factory=dict)
    calls: list[tuple[str, Call]] = field(default_factory=list)
    """Those that were really made."""

    async def call(self, key: str, call: Call) -> ToolResult:
        async def do() -> Json:
            self.calls.append((key, call))
            default = ToolResult(facts={"done": call.tool}, files=tuple(filter(None, [call.arguments.get("file")])))
            return self.results.get(call.tool, default).to_payload()

        return ToolResult.from_payload(await self.steps.step(key, "tool", call.to_payload(), do))


def preset(dialect: str) -> Preset:
    found = PRESETS[OF_DIALECT[dialect]]
    assert found.tool_dialect == dialect
    return found


def say(dialect: str, name: str, arguments: dict[str, Any], text: str = "") -> Say:
    """A call in that dialect, as a model of it answers."""
    if dialect == "native":
        return Say(text=text, calls=((name, json.dumps(arguments)),))
    if dialect == "hermes":
        return Say(text=f"{text}<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>")
    if dialect == "constrained":
        return Say(text=json.dumps({"tool": name, "arguments": arguments}))
    code = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    before_call = f"\n{text}\n<|assistant|>" if text else ""
    return Say(text=f"{before_call}{name}\n ```python\ntool_call({code})\n```")


def exists(*files: str) -> dict[str, Any]:
    return {"kind": "exists", "arguments": {"files": list(files)}}


PLAN_ARGUMENTS = {
    "subtasks": [
        {
            "name": fruit,
            "goal": f"{fruit}.png is an icon of a {fruit}",
            "milestones": [
                exists(f"{fruit}.png"),
                {"kind": "size", "arguments": {"file": f"{fruit}.png", "width": 512}},
            ],
        }
        for fruit in ("apple", "pear")
    ]
}
DRAW = {"prompt": "an apple, icon", "file": "apple.png"}
CHANGES = {"changes": [{"kind": "modify", "id": "1", "fields": {"goal": "apple.png is a red apple"}}]}


def planned() -> Plan:
    return Plan.of(*map(Subtask.from_payload, PLAN_ARGUMENTS["subtasks"]))  # type: ignore[arg-type]

"""Answers in the formats of real models, and what they mean; each file says where its format is described."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.language.client import Delta, ToolCallDelta
from models.language.tools.reader import Reader
from models.language.tools.types import BadCall, Event, Text, Tool, ToolCall

FOLDER = Path(__file__).parent / "recorded"
TOOLS = [
    Tool(name=name, description="Does something.", parameters={"type": "object", "properties": {}})
    for name in ("create_image", "list_models", "list_styles", "get_current_weather")
]


@dataclass(frozen=True)
class Recording:
    """One answer."""

    name: str
    dialect: str
    expect: list[list[Any]]
    deltas: tuple[Delta, ...]


def recordings() -> list[Recording]:
    """All of them."""
    return [_native(path) if path.suffix == ".json" else _text(path) for path in sorted(FOLDER.iterdir())]


def _text(path: Path) -> Recording:
    head, _, raw = path.read_text("utf-8").partition("\n-----\n")
    source, expect = head.split("\n")
    assert source.startswith("format: ")
    deltas = (Delta(text=raw.removesuffix("\n")),)
    return Recording(path.stem, path.stem.split("-")[0], json.loads(expect.removeprefix("expect: ")), deltas)


def _native(path: Path) -> Recording:
    found = json.loads(path.read_text("utf-8"))
    assert found["format"]
    deltas = tuple(
        Delta(text=entry.get("content", ""), tool_calls=tuple(ToolCallDelta(**c) for c in entry.get("tool_calls", ())))
        for entry in found["deltas"]
    )
    return Recording(path.stem, "native", found["expect"], deltas)


def read_all(reader: Reader, deltas: Sequence[Delta]) -> list[list[Any]]:
    """What ``reader`` makes of ``deltas``, adjacent texts joined."""
    events: list[Event] = [event for delta in deltas for event in reader.feed(delta)]
    return plain(events + reader.finish())


def plain(events: Sequence[Event]) -> list[list[Any]]:
    """The events as the files write them."""
    found: list[list[Any]] = []
    for event in events:
        match event:
            case Text(text=text) if found and found[-1][0] == "text":
                found[-1][1] += text
            case Text(text=text):
                found.append(["text", text])
            case ToolCall(name=name, arguments=arguments):
                found.append(["call", name, arguments])
            case BadCall(reason=reason):
                found.append(["bad", reason])
    return found

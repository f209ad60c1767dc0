"""A call of a tool, what the tool gave back, and what is known of the tool beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.jobs.payload import Payload
from models.jobs.results import Json


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """A tool as a planner is told of it."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """The JSON schema of its arguments."""
    spends: bool = False
    """Whether a call runs a job, which costs images and cost units of the budget."""


@dataclass(frozen=True, kw_only=True)
class Call(Payload):
    """A call; files are named by their relative path in the workspace, as in ``panels/1.png``."""

    tool: str
    arguments: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ToolResult(Payload):
    """What a tool gave back."""

    facts: dict[str, Json] = field(default_factory=dict)
    """The structured result."""
    files: tuple[str, ...] = ()
    """The files of the workspace that the call wrote."""
    error: str | None = None
    """Why the call failed, in a sentence; a failed call wrote nothing and spent nothing that it did not run."""

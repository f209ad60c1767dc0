"""The tools of a job as pydantic-ai's external tools, of which some need the approval of a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pydantic_ai import RunContext, ToolFailed
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import ExternalToolset
from pydantic_ai.toolsets.abstract import ToolsetTool

from models.agent.calls import ToolSpec


class JobToolset(ExternalToolset[None]):
    """Calls end the run and are made by the planner; it continues the run with their results.

    For tools that need approval pydantic-ai asks for the result of an approved call through :meth:`call_tool`.
    """

    def __init__(
        self,
        specs: Sequence[ToolSpec],
        *,
        needs_approval: Callable[[ToolSpec], bool],
        approved: dict[str, str | ToolFailed],
    ) -> None:
        super().__init__([_definition(spec) for spec in specs], id="job")
        self._to_approve = {spec.name for spec in specs if needs_approval(spec)}
        self._approved = approved

    async def get_tools(self, ctx: RunContext[None]) -> dict[str, ToolsetTool[None]]:
        """The tools, by name."""
        tools = await super().get_tools(ctx)
        for name in self._to_approve:
            tools[name] = replace(tools[name], tool_def=replace(tools[name].tool_def, kind="unapproved"))
        return tools

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[None], tool: ToolsetTool[None]
    ) -> str:
        """The result of an approved call, by its id."""
        result = self._approved[str(ctx.tool_call_id)]
        if isinstance(result, ToolFailed):
            raise result
        return result


def _definition(spec: ToolSpec) -> ToolDefinition:
    return ToolDefinition(name=spec.name, description=spec.description, parameters_json_schema=dict(spec.parameters))

"""MCP for the tools: arguments that do not fit and refusals are sentences, and no answer is long."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp_types import CallToolResult, InputRequiredResult, TextContent
from pydantic import ValidationError

from models.errors import PhotogramError

ANSWER_MAX_BYTES = 16_000
_PROBLEMS_MAX = 5


class ToolServer(MCPServer):
    """An MCP server whose errors a small model understands."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """As the SDK's.

        Raises:
            ToolError: what the caller is told.
        """
        try:
            answer = await super().call_tool(name, arguments, context)
        except ToolError as error:
            raise ToolError(_told(name, error)) from None
        if _size(answer) > ANSWER_MAX_BYTES:
            raise ToolError(f"the answer of {name} would be longer than {ANSWER_MAX_BYTES} bytes; ask for less at once")
        return answer


def _told(name: str, error: ToolError) -> str:
    match error.__cause__:
        case ValidationError() as problems:
            return f"the arguments of {name} are not valid: {_problems(problems)}"
        case PhotogramError() | ToolError() as refusal:
            return str(refusal)
        case MemoryError():
            return f"{name} needs more memory than it may have; use smaller images"
    if isinstance(error, UnexpectedToolError):
        return f"{name} failed unexpectedly; try other arguments"
    return str(error)


def _problems(problems: ValidationError) -> str:
    found = problems.errors(include_url=False, include_input=False, include_context=False)
    told = [f"{_path(each['loc'])}: {each['msg'][:1].lower()}{each['msg'][1:]}" for each in found[:_PROBLEMS_MAX]]
    return "; ".join(dict.fromkeys(told))


def _path(place: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in place if not isinstance(part, str) or part.isidentifier()) or "arguments"


def _size(answer: CallToolResult | InputRequiredResult) -> int:
    if not isinstance(answer, CallToolResult):
        return 0
    return sum(len(part.text.encode()) for part in answer.content if isinstance(part, TextContent))

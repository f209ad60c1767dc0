"""Tools for agent jobs, which make finished images from a brief, and the prompts that begin one."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from photogram_mcp.answers import job_answer
from photogram_mcp.drawing import DRAWS, Source
from photogram_mcp.jobs import JobId
from photogram_mcp.running import DEFAULT_WAIT_S, OwnId, Wait, follow
from photogram_mcp.studio import Studio

_FILES_MAX = 8
Mode = Annotated[
    str,
    Field(
        pattern="^(auto|ask|approve)$",
        description="`auto` asks nobody; `ask` may ask questions, which answer_agent answers; `approve` always asks.",
    ),
]
Subject = Annotated[str, Field(description="What it is about.")]


def register(server: MCPServer, studio: Studio) -> None:
    """Add the tools and the prompts to ``server``."""

    @server.tool(title="Let an agent make images", annotations=DRAWS)
    async def run_agent(
        context: Context[Any, Any],
        brief: Annotated[
            str, Field(min_length=1, description="What to make: a story in 4 panels about ..., 6 icons ...")
        ],
        images: Annotated[list[Source] | None, Field(max_length=_FILES_MAX, description="Images it is about.")] = None,
        max_images: Annotated[int | None, Field(ge=0, description="How many images it may draw at most.")] = None,
        mode: Mode = "auto",
        seed: Annotated[int | None, Field(description="The same seed gives the same images.")] = None,
        wait_s: Wait = DEFAULT_WAIT_S,
        job_id: OwnId = None,
    ) -> CallToolResult:
        """Have images planned, drawn and checked: stories, icons, product sheets, edits. It answers as create_image."""
        budget = None if max_images is None else {"images": max_images}
        params: dict[str, Any] = {"brief": brief, "mode": mode, "budget": budget, "seed": seed}
        given = {name: value for name, value in params.items() if value is not None}
        async with studio.client(context) as client:
            found = [studio.sources.find(each) for each in images or ()]
            job = await client.submit_kind("agent", given | ({"files": found} if found else {}), job_id=job_id)
            return await job_answer(client, await follow(client, job, wait_s, context))

    @server.tool(
        title="Answer an agent",
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
        ),
    )
    async def answer_agent(
        context: Context[Any, Any],
        job_id: JobId,
        text: Annotated[str, Field(min_length=1, description="The answer, or what the agent shall change.")],
    ) -> CallToolResult:
        """Answer the question of an agent, or tell it what to change while it works."""
        async with studio.client(context) as client:
            return await job_answer(client, await client.jobs.tell(job_id, text))

    @server.prompt(title="A story in panels")
    def storyboard(subject: Subject, panels: str = "4") -> str:
        """A story in a few panels with captions, on one sheet."""
        return f"Call run_agent with the brief: a story in {panels} panels about {subject}. Then show me the sheet."

    @server.prompt(title="A set of icons")
    def icon_set(subject: Subject, icons: str = "6") -> str:
        """Icons in one style on one ground."""
        return f"Call run_agent with the brief: a set of {icons} icons of {subject} in one style on one ground."

    @server.prompt(title="A product in colours")
    def product_sheet(subject: Subject, colours: str = "5") -> str:
        """One product in several colours, on one sheet."""
        return f"Call run_agent with the brief: {subject} in {colours} colours as one sheet."

    @server.prompt(title="Edit and enlarge a photo")
    def edit_then_upscale(image: str, change: str) -> str:
        """A photo that is changed as you say, and then enlarged."""
        return f"Call run_agent with the image {image} and the brief: edit this photo: {change}. Then upscale it."

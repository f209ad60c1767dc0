"""Jobs as the answers of tools: words for the assistant, a small image to look at, and a link to the file."""

from __future__ import annotations

import asyncio
import base64
from io import BytesIO
from typing import Any

from mcp_types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from photogram import AsyncPhotogram, Image, Job
from PIL import Image as pillow

IMAGES_MAX = 4
"""So many images of a job are shown; the others are named."""
SHOWN_MAX_BYTES = 700 * 1024
"""Base64 makes a third more of it, and assistants take 1 MB."""
_SIDES_PX = (1024, 768, 512, 256)
_FORMAT, _QUALITY = "webp", 80


async def job_answer(client: AsyncPhotogram, job: Job) -> CallToolResult:
    """What a tool answers about ``job``, whatever state it is in; a job that failed is an error of the tool."""
    content: list[ContentBlock] = [TextContent(text=_words(job))]
    if job.status == "succeeded" and job.result is not None:
        for index, image in enumerate(job.result.images):
            if index < IMAGES_MAX:
                content.append(await _shown(client, job, index))
            content.append(_link(image, job))
    return CallToolResult(content=content, structured_content=_facts(job), is_error=job.status == "failed")


def _words(job: Job) -> str:
    match job.status:
        case "succeeded":
            return _told_success(job)
        case "failed":
            return f"Job {job.id} failed: {job.error.message if job.error else 'no reason was given'}"
        case "canceled":
            return f"Job {job.id} was canceled."
        case "queued":
            place = "" if job.queue is None else f", {job.queue.ahead} jobs are before it"
            return f"Job {job.id} waits{place}{_eta(job)}. Call wait_for_job with this id."
        case _ if job.waiting_for_input is not None:
            asked = job.waiting_for_input
            choices = f" Choices: {' / '.join(asked.choices)}." if asked.choices else ""
            return f"Job {job.id} asks: {asked.question}{choices} Ask the user, and call answer_agent with the answer."
        case _:
            steps = "" if job.progress is None else f", step {job.progress.step} of {job.progress.steps}"
            return f"Job {job.id} is being drawn{steps}{_eta(job)}. Call wait_for_job with this id."


def _eta(job: Job) -> str:
    return "" if job.queue is None or job.queue.eta_s is None else f", done in about {job.queue.eta_s:.0f} s"


def _told_success(job: Job) -> str:
    assert job.result is not None
    lines = [f"Job {job.id} ({job.kind}) is done."]
    lines += [f"{image.source}: {image.width}x{image.height}, seed {image.seed}" for image in job.result.images]
    if job.revised_prompt:
        lines.append(f"The prompt was rewritten: {job.revised_prompt}")
    lines += [f"Warning: {warning}" for warning in job.warnings]
    return "\n".join(lines)


def _facts(job: Job) -> dict[str, Any]:
    facts: dict[str, Any] = {"job_id": job.id, "kind": job.kind, "status": job.status}
    if job.queue is not None:
        facts |= {"ahead": job.queue.ahead, "eta_s": job.queue.eta_s}
    if job.progress is not None and not job.is_finished:
        facts |= {"step": job.progress.step, "steps": job.progress.steps}
    if job.result is not None:
        facts["images"] = [
            {"source": each.source, "url": each.url, "width": each.width, "height": each.height, "seed": each.seed}
            for each in job.result.images
        ]
        if job.result.document is not None:
            facts["document"] = job.result.document
    if job.error is not None:
        facts["error"] = {"code": job.error.code, "message": job.error.message}
    return facts


async def _shown(client: AsyncPhotogram, job: Job, index: int) -> ImageContent:
    """An image of ``job`` of at most 1 MB."""
    downloaded = await client.download(job, index, file_format=_FORMAT)
    data = await asyncio.to_thread(small_enough, downloaded.data)
    return ImageContent(data=base64.b64encode(data).decode(), mime_type=f"image/{_FORMAT}")


def small_enough(data: bytes) -> bytes:
    """``data`` itself, or a smaller copy of the image in it, of at most :data:`SHOWN_MAX_BYTES`."""
    for side_px in _SIDES_PX:
        if len(data) <= SHOWN_MAX_BYTES:
            break
        with pillow.open(BytesIO(data)) as opened:
            opened.thumbnail((side_px, side_px))
            buffer = BytesIO()
            opened.save(buffer, _FORMAT, quality=_QUALITY)
        data = buffer.getvalue()
    return data


def _link(image: Image, job: Job) -> ResourceLink:
    return ResourceLink(
        uri=image.url, name=image.source, mime_type="image/png", title=str(job.params.get("prompt", job.kind))[:80],
        description=f"{image.width}x{image.height} PNG",
    )  # fmt: skip

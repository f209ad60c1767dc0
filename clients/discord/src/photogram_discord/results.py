"""The images of a finished job, as far as they fit into a message."""

from __future__ import annotations

from photogram import AsyncPhotogram, DownloadedImage, Job

from .drawing import Drawing

GALLERY_MAX = 10
"""Images in one gallery, as Discord takes it."""


async def downloaded(client: AsyncPhotogram, drawing: Drawing, job_id: str) -> tuple[DownloadedImage, ...] | str:
    """The first image of a job, or of an agent's job all that fit; the text says why none can be shown.

    Raises JobFailed, JobCanceled and whatever else the client raises.
    """
    job = await client.jobs.get(job_id)
    found, left_bytes = [await _fitting(client, job, 0, drawing.max_file_bytes)], drawing.max_file_bytes
    if len(found[0].data) > left_bytes:
        return f"The image has {len(found[0].data) / 1e6:.0f} MB, which is too large for a message here."
    made = len(job.result.images) if drawing.kind == "agent" and job.result else 1
    for index in range(1, min(made, GALLERY_MAX)):
        left_bytes -= len(found[-1].data)
        image = await _fitting(client, job, index, left_bytes)
        if len(image.data) > left_bytes:
            break
        found.append(image)
    return tuple(found)


async def _fitting(client: AsyncPhotogram, job: Job, index: int, max_bytes: int) -> DownloadedImage:
    """The image as PNG, which says how it was made, or as JPEG if the PNG has more than `max_bytes`."""
    image = await client.download(job, index)
    return image if len(image.data) <= max_bytes else await client.download(job, index, file_format="jpg")

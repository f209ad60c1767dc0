"""Cost keys: forwards with equal keys and equally many inputs take about the same time."""

from __future__ import annotations

from collections.abc import Hashable

from models.diffusion.work import Task
from models.jobs.params import DrawParams


def drawing_cost_key(model: str, size: tuple[int, int], *, any_backend: bool) -> Hashable:
    """The cost key of denoising with ``model``.

    Args:
        size: width and height in pixels at which the image is denoised.
        any_backend: whether any backend can run the forward; otherwise torch must.
    """
    return model, size, any_backend


def expected_cost_key(task: Task) -> Hashable:
    """The cost key that the first work of ``task`` will have, known before the task is prepared."""
    params = task.params
    if not isinstance(params, DrawParams):
        return task.kind
    size = task.catalog[params.model].drawn_size(params.width, params.height)
    needs_torch = params.loras or params.controls or params.reuse_interval > 1
    return drawing_cost_key(params.model, size, any_backend=not needs_torch)

"""What modules and threads do for the sake of a device: the layout of weights, free memory, and waiting for results."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def channels_last_on_gpu(module: M, device: torch.device | None = None) -> M:
    """Convert the weights of ``module`` to channels last, in place, where convolutions are faster with it: on a GPU.

    On a CPU nothing is changed, since another memory format could change the pixels there.

    Args:
        device: where ``module`` computes; ``None`` is where its weights are.
    """
    if (device or next(module.parameters()).device).type != "cpu":
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return module


def free_bytes(device: torch.device) -> int | None:
    """The memory of ``device`` that new tensors can take; ``None`` on a CPU, whose memory other programs share.

    What torch holds for later tensors counts as free.
    """
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def synchronize(device: torch.device) -> None:
    """Wait until ``device`` has done all work that this thread's stream gave it; a CPU never lags behind."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()

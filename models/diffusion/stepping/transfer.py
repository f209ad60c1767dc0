"""From the CPU to the device without waiting: numbers, and noise of the rows' own generators."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def send(values: Sequence[object], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The (nested) list of numbers ``values`` as a tensor on ``device``, in one copy that the CPU does not wait for."""
    return torch.tensor(values, dtype=dtype, pin_memory=_pins(device)).to(device, non_blocking=True)


def send_noise(
    generators: Sequence[torch.Generator], shape: Sequence[int], dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """Normal noise [N, *shape], one part by each of N ``generators`` on the CPU, sent to ``device`` in one copy.

    Each generator gives the same numbers as for ``torch.randn(1, *shape)``.
    """
    noise = torch.empty(len(generators), *shape, dtype=dtype, pin_memory=_pins(device))
    for part, generator in zip(noise.split(1), generators, strict=True):
        part.normal_(generator=generator)
    return noise.to(device, non_blocking=True)


def _pins(device: torch.device) -> bool:
    """Whether copies to ``device`` need pinned memory, so that the CPU does not wait for them."""
    return device.type == "cuda"

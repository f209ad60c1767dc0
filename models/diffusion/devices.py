"""Waiting for a device, which computes behind the program that gives it work."""

from __future__ import annotations

import torch


def synchronize(device: torch.device) -> None:
    """Wait until ``device`` has done all work that this thread's stream gave it; a CPU never lags behind."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()

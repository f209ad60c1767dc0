"""The state of a noise scheduler between two steps, as plain values that another one of its kind can take over."""

from __future__ import annotations

from typing import Any

import torch

from models.diffusion.work import Saved


def save(scheduler: Any) -> Saved:
    """All attributes of ``scheduler`` that are numbers, tensors, or lists of them.

    The others are the same in any scheduler with the same settings, or are made again when they are needed.
    """
    return {name: _saved(value) for name, value in vars(scheduler).items() if _is_plain(value)}


def restore(scheduler: Any, state: Saved, device: torch.device) -> None:
    """Set ``scheduler``, which has the same settings and has taken no step, to ``state``.

    Args:
        device: where the scheduler keeps what is not on the CPU.
    """
    for name, value in state.items():
        setattr(scheduler, name, _restored(value, device))


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str | torch.Tensor)


def _saved(value: Any) -> Any:
    match value:
        case list() | tuple():
            return type(value)(_saved(each) for each in value)
        case torch.Tensor():
            return {"tensor": value.to("cpu", copy=True), "on_device": value.device.type != "cpu"}
        case float():
            return float(value)  # NumPy's floats are floats too, and torch.load does not read them
        case _:
            return value


def _restored(value: Any, device: torch.device) -> Any:
    match value:
        case list() | tuple():
            return type(value)(_restored(each, device) for each in value)
        case {"tensor": tensor, "on_device": on_device}:
            return tensor.to(device) if on_device else tensor
        case _:
            return value

"""Counts what one tick of the engine asks of torch outside of the model: operations, and waits for the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from models.diffusion.denoiser import Conditioning, Denoiser, Residuals

_WAITING = {torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.nonzero,
            torch.Tensor.__bool__, torch.Tensor.__float__, torch.Tensor.__int__, torch.Tensor.__index__}  # fmt: skip
"""On a GPU, each of these waits until the device has computed the tensor."""
_DRAWING = "aten::normal_"
"""Runs on the CPU whatever the device is: each row has a random generator of its own."""


class Meter:
    """Counts torch's operations by name, and the calls that wait for the device, while :meth:`running`."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self._paused = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count within."""
        with ExitStack() as stack:
            stack.enter_context(_Waits(self))
            stack.enter_context(_Operations(self))
            yield

    def without(self, denoiser: Denoiser) -> Denoiser:
        """``denoiser``, whose own operations are not counted."""
        return _Uncounted(denoiser, self)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count within."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def note_operation(self, name: str) -> None:
        """Count one operation, but for noise."""
        if not self._paused and name != _DRAWING:
            self.operations[name] += 1

    def note_call(self, function: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any]) -> None:
        """Count a call if it waits for the device; a copy to a device must be marked as non-blocking."""
        given = (*arguments, *options.values())
        copies = function is torch.Tensor.to and any(isinstance(each, torch.device | str) for each in given)
        if not self._paused and (function in _WAITING or (copies and not options.get("non_blocking"))):
            self.waits[function.__name__] += 1


class _Operations(TorchDispatchMode):
    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._meter.note_operation(func._schema.name)
        return func(*args, **(kwargs or {}))


class _Waits(TorchFunctionMode):
    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._meter.note_call(func, args[1:], kwargs or {})
        return func(*args, **(kwargs or {}))


class _Uncounted:
    relative_error: float | None = None
    name = "uncounted"

    def __init__(self, inner: Denoiser, meter: Meter) -> None:
        self._inner, self._meter = inner, meter

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """As the real one."""
        with self._meter.paused():
            return self._inner.denoise(latents, timesteps, conditioning, residuals)

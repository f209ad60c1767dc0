"""Where the weights of a checkpoint are: on the device all the time, or in the host's memory until they are used.

With ``offload = "model"``, text encoders, denoiser and VAE take turns on the device: a part comes when it is used, and
stays until another one is. With ``offload = "sequential"`` each layer comes for its own forward only. The weights in
the host's memory never change, so nothing is copied back, and every forward computes with the same numbers as without
offloading. Work that uses a part holds a lock, because the engine's threads would otherwise send each other's weights
away; side work and steps then take turns.

Weights stored in 8 bits (:mod:`models.diffusion.reduced_weights`) are widened by the same visits of layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch
from torch import nn

from models.diffusion.failures import release_memory
from models.diffusion.parts import Part, part_named

Fetch = Callable[[torch.Tensor], torch.Tensor]
"""From a tensor as it is stored to the one that is computed with."""


def parts_of(components: Mapping[str, Any]) -> dict[Part, list[nn.Module]]:
    """The modules of a pipeline's ``components``, by part."""
    parts: dict[Part, list[nn.Module]] = {part: [] for part in Part}
    for name, component in components.items():
        if isinstance(component, nn.Module):
            parts[part_named(name)].append(component)
    return parts


def to_device(device: torch.device) -> Fetch:
    """Copies tensors onto ``device``."""
    return lambda stored: stored.to(device)


class Placement:
    """The weights of one pipeline, all of them on the device."""

    offloads = False
    """Whether weights are in the host's memory while they are not used."""

    @contextmanager
    def using(self, part: Part) -> Iterator[None]:
        """Within the block, the modules of ``part`` can be called."""
        yield

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Within the block, no module is called, and all weights are where they are stored."""
        yield

    def of(self, components: Mapping[str, Any]) -> Placement:
        """The placement of a copy of the pipeline, which shares tensors with it."""
        return self


class LayerPlacement(Placement):
    """Weights that are on the device only while their layer computes: ``offload = "sequential"``.

    Args:
        components: of the pipeline, in the host's memory.
        fetch: gives the tensors on the device.
        device: the device, to which the inputs of every module are moved: code that puts them where the weights are
            finds these in the host's memory.
    """

    offloads = True

    def __init__(
        self, components: Mapping[str, Any], fetch: Fetch, device: torch.device, lock: RLock | None = None
    ) -> None:
        self._fetch, self._device, self._lock = fetch, device, lock or RLock()
        for modules in parts_of(components).values():
            for layer in (layer for module in modules for layer in module.modules()):
                _receive_on(layer, device)
                visit(layer, fetch)

    @contextmanager
    def using(self, part: Part) -> Iterator[None]:
        """See :meth:`Placement.using`."""
        with self._lock:
            yield

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """See :meth:`Placement.at_rest`."""
        with self._lock:
            yield

    def of(self, components: Mapping[str, Any]) -> LayerPlacement:
        """See :meth:`Placement.of`; visits the layers that are new, such as those of LoRAs, too."""
        return LayerPlacement(components, self._fetch, self._device, self._lock)


class PartPlacement(Placement):
    """Parts that take turns on the device: ``offload = "model"``.

    Args:
        components: of the pipeline, in the host's memory.
        fetch: gives the tensors on the device.
        device: the device, whose queues are waited for before a part leaves it.
        turns: of the pipeline whose tensors this one shares.
    """

    offloads = True

    def __init__(
        self, components: Mapping[str, Any], fetch: Fetch, device: torch.device, turns: _Turns | None = None
    ) -> None:
        self._fetch, self._device = fetch, device
        self._turns = turns or _Turns()
        self._parts = {part: _Weights(modules) for part, modules in parts_of(components).items()}

    @contextmanager
    def using(self, part: Part) -> Iterator[None]:
        """See :meth:`Placement.using`."""
        weights = self._parts[part]
        with self._turns.lock:
            if self._turns.present is not weights:
                self._send_away()
                weights.come(self._fetch)
                self._turns.present = weights
                _settle(self._device)
            yield

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """See :meth:`Placement.at_rest`."""
        with self._turns.lock:
            self._send_away()
            yield

    def of(self, components: Mapping[str, Any]) -> PartPlacement:
        """See :meth:`Placement.of`; the parts of both take turns with one another."""
        return PartPlacement(components, self._fetch, self._device, self._turns)

    def _send_away(self) -> None:
        """Free the memory of the present part, once all queues of the device have used it."""
        if self._turns.present is not None:
            _settle(self._device)
            self._turns.present.leave()
            self._turns.present = None
            release_memory(self._device)


class _Weights:
    """The parameters and buffers of one part, each once."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        found = [each for module in modules for each in (*module.parameters(), *module.buffers())]
        self._tensors = list({id(each): each for each in found}.values())
        self._stored: list[torch.Tensor] = []

    def come(self, fetch: Fetch) -> None:
        """Put the tensors on the device, all or none."""
        self._stored = [each.data for each in self._tensors]
        try:
            with torch.inference_mode(False):
                for each, stored in zip(self._tensors, self._stored, strict=True):
                    each.data = fetch(stored)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Drop what is on the device."""
        for each, stored in zip(self._tensors, self._stored, strict=True):
            each.data = stored
        self._stored = []


class _Turns:
    """Whose turn it is among parts that share a lock."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.present: _Weights | None = None


def _settle(device: torch.device) -> None:
    """Wait until all queues of ``device`` are done; a CPU never lags behind."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def visit(layer: nn.Module, fetch: Fetch) -> None:
    """Let ``layer`` compute with the tensors that ``fetch`` gives for its own ones; once for each layer.

    Copies of the layer do so too. If its forward fails, the stored tensors are put back as well.
    """
    if not _own_tensors(layer) or _has_hook(layer, _Visit):
        return
    visiting = _Visit(fetch)
    layer.register_forward_pre_hook(visiting.begin)
    layer.register_forward_hook(visiting.end, always_call=True)


def _receive_on(layer: nn.Module, device: torch.device) -> None:
    """Let ``layer`` be called with tensors that are elsewhere than on ``device``; once for each layer."""
    if not _has_hook(layer, _Inputs):
        layer.register_forward_pre_hook(_Inputs(device).move, with_kwargs=True)


def _has_hook(layer: nn.Module, kind: type) -> bool:
    """Whether ``layer`` has a hook before its forward that is a method of ``kind``."""
    return any(isinstance(getattr(hook, "__self__", None), kind) for hook in layer._forward_pre_hooks.values())


class _Inputs:
    """The hook that moves the inputs of one layer."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def move(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Before the forward."""
        return tuple(self._moved(each) for each in args), {name: self._moved(each) for name, each in kwargs.items()}

    def _moved(self, value: Any) -> Any:
        return value.to(self._device) if isinstance(value, torch.Tensor) else value


class _Visit:
    """The hooks of one layer."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._stored: list[tuple[torch.Tensor, torch.Tensor]] = []

    def begin(self, layer: nn.Module, args: object) -> None:
        """Before the forward."""
        self._stored = [(each, each.data) for each in _own_tensors(layer)]
        with torch.inference_mode(False):
            for each, stored in self._stored:
                each.data = self._fetch(stored)

    def end(self, layer: nn.Module, args: object, output: object) -> None:
        """After the forward, and after an error in it."""
        for each, stored in self._stored:
            each.data = stored
        self._stored = []


def _own_tensors(layer: nn.Module) -> list[torch.Tensor]:
    """The parameters and buffers of ``layer`` that are not those of layers inside it."""
    return [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]

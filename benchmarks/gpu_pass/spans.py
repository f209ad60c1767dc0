"""Measures when modules of a model run on the device, by CUDA events, or on a CPU by the clock."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from benchmarks.gpu_pass.surface import Conditioning, Denoiser, InputShape, Residuals, batch_sizes

Moment = torch.cuda.Event | float


def moment(device: torch.device) -> Moment:
    """A mark in the device's stream of work, or the current time on a CPU."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def seconds_between(first: Moment, second: Moment) -> float:
    """The time from ``first`` to ``second``; the device must have reached both."""
    if isinstance(first, torch.cuda.Event):
        return float(first.elapsed_time(second)) / 1000  # type: ignore[arg-type]
    assert not isinstance(second, torch.cuda.Event)
    return second - first


def wait(device: torch.device) -> None:
    """Wait until the device has finished all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Watch:
    """Records when the watched modules run. Each module must be called by one thread at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._spans: dict[str, list[tuple[Moment, Moment]]] = {}
        self._begun: dict[str, Moment] = {}
        self._start = moment(device)

    @contextmanager
    def on(self, pipeline: Any) -> Iterator[None]:
        """Watch the UNet, the VAE's decoder and the first text encoder of ``pipeline``."""
        modules = {"unet": pipeline.unet, "vae": pipeline.vae.decoder, "text": pipeline.text_encoder}
        with ExitStack() as hooks:
            for name, module in modules.items():
                hooks.callback(module.register_forward_pre_hook(partial(self.begin, name)).remove)
                hooks.callback(module.register_forward_hook(partial(self.end, name)).remove)
            yield

    def begin(self, name: str, *_: object) -> None:
        """Record that ``name`` starts."""
        self._begun[name] = moment(self._device)

    def end(self, name: str, *_: object) -> None:
        """Record that ``name`` has ended."""
        begun = self._begun.pop(name, None)
        if begun is not None:
            self._spans.setdefault(name, []).append((begun, moment(self._device)))

    def reset(self) -> None:
        """Discard the records, so that a warm-up does not count."""
        self._spans.clear()
        self._start = moment(self._device)

    def shares(self) -> dict[str, float]:
        """The share of the time since :meth:`reset` in which each module ran, and in which any did ("all")."""
        end = moment(self._device)
        wait(self._device)
        whole_s = seconds_between(self._start, end)
        spans = {
            name: [(seconds_between(self._start, first), seconds_between(self._start, last)) for first, last in each]
            for name, each in self._spans.items()
        }
        everything = [span for each in spans.values() for span in each]
        return {name: covered_s(each) / whole_s for name, each in {**spans, "all": everything}.items()}

    def between_forwards_ms(self) -> float:
        """The median time from the end of one forward of the UNet to the start of the next; 0 without two forwards.

        All that the device does meanwhile counts, such as scheduler steps and decoding, and the time that it waits.
        """
        wait(self._device)
        gaps = [seconds_between(ended, begun) for (_, ended), (begun, _) in pairwise(self._spans.get("unet", []))]
        return statistics.median(gaps) * 1000 if gaps else 0.0


class WatchedDenoiser:
    """Records the forwards of a denoiser that does not call the pipeline's own UNet, such as a compiled one."""

    def __init__(self, inner: Denoiser, watch: Watch) -> None:
        self._inner, self._watch = inner, watch
        self.name, self.relative_error = inner.name, inner.relative_error

    def batch_sizes(self, shape: InputShape) -> tuple[int, ...]:
        """See :meth:`FixedSizes.batch_sizes`."""
        return batch_sizes(self._inner, shape)

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """See :meth:`Denoiser.denoise`."""
        self._watch.begin("unet")
        output = self._inner.denoise(latents, timesteps, conditioning, residuals)
        self._watch.end("unet")
        return output


def covered_s(spans: Sequence[tuple[float, float]]) -> float:
    """The length of the union of ``spans``."""
    covered, reached = 0.0, 0.0
    for first, last in sorted(spans):
        covered += max(0.0, last - max(first, reached))
        reached = max(reached, last)
    return covered

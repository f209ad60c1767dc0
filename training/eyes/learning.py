"""Trains the eyes on scenes and their captions; interrupted runs are resumed."""

from __future__ import annotations

import logging
import math
import random
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from training.eyes.captions import Captions
from training.eyes.network import INPUT_PX, Eyes
from training.eyes.renderings import Renderings
from training.eyes.scenes import Painter, Scenes

log = logging.getLogger("training.eyes")

BATCH = 64
PEAK_RATE = 2.5e-3
WARMUP_STEPS = 100
AVERAGING = 0.99
"""How much of the averaged weights each step keeps."""
SMOOTHING = 0.05
HOUSE_SHARE = 0.3
"""How much of the training set are icons of the set that the built-in checkpoint was trained on, which is the first."""
_LOG_EVERY = 50


class Learning:
    """The network, its optimiser and its averaged weights, saved to and resumed from one file."""

    def __init__(self, renderings: Renderings, captions: Captions, classes: int, folder: Path) -> None:
        torch.manual_seed(0)
        self.renderings, self.captions, self._file = renderings, captions, folder / "learning.pt"
        self.eyes = Eyes(classes, captions.states.shape[1]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = torch.optim.swa_utils.AveragedModel(
            self.eyes, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGING), use_buffers=True
        )
        decayed = [each for each in self.eyes.parameters() if each.ndim > 1]
        others = [each for each in self.eyes.parameters() if each.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}],
            lr=PEAK_RATE,
            fused=True,
        )
        self.samples = 0
        if self._file.exists():
            state = torch.load(self._file, weights_only=True)
            self.eyes.load_state_dict(state["eyes"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.samples = state["samples"]
        self._weights = _weights(renderings)

    def save(self) -> None:
        """Write the whole state atomically, by a rename."""
        partial = self._file.with_suffix(".partial")
        torch.save({"eyes": self.eyes.state_dict(), "average": self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(), "samples": self.samples}, partial)  # fmt: skip
        partial.replace(self._file)

    def averaged(self) -> Eyes:
        """The network with the averaged weights."""
        found = self.average.module
        assert isinstance(found, Eyes)
        return found

    def run(self, samples: int, save_every_s: float = 60) -> None:
        """Learn until ``samples`` scenes have been seen, over all runs."""
        painter, saved_at, started = Painter(self.renderings, INPUT_PX), time.monotonic(), time.monotonic()
        recent: list[Tensor] = []
        while self.samples < samples:
            recent.append(self._step(painter, self.samples / samples))
            if len(recent) == _LOG_EVERY:
                speed = _LOG_EVERY * BATCH / (time.monotonic() - started)
                numbers = torch.stack(recent).mean(0).tolist()
                log.info("%d scenes: names %.3f  words %.3f  right %.3f  %.0f/s", self.samples, *numbers, speed)
                started, recent = time.monotonic(), []
            if time.monotonic() - saved_at > save_every_s:
                self.save()
                saved_at = time.monotonic()
        self.save()

    def _step(self, painter: Painter, share: float) -> Tensor:
        """Learn from one batch: the losses of names and words, and the share of right names [3]."""
        step = self.samples // BATCH
        generator = torch.Generator().manual_seed(step)
        scenes = painter.paint(
            torch.multinomial(self._weights, BATCH, replacement=True, generator=generator), generator
        )
        rows = self.captions.draw(scenes, random.Random(step))
        for group in self.optimizer.param_groups:
            group["lr"] = PEAK_RATE * min((step + 1) / WARMUP_STEPS, 0.5 + 0.5 * math.cos(math.pi * share), 1.0) + 1e-5
        logits, embedded = self.eyes.train()(scenes.images.contiguous(memory_format=torch.channels_last))
        names = cross_entropy(logits, scenes.concepts, label_smoothing=SMOOTHING)
        words = self._words_loss(scenes, rows, embedded)
        self.optimizer.zero_grad(set_to_none=True)
        (names + 0.5 * words).backward()
        torch.nn.utils.clip_grad_norm_(self.eyes.parameters(), 2.0)
        self.optimizer.step()
        self.average.update_parameters(self.eyes)
        self.samples += BATCH
        right = (logits.detach().argmax(1) == scenes.concepts).float().mean()
        return torch.stack([names.detach(), words.detach(), right])

    def _words_loss(self, scenes: Scenes, rows: Tensor, embedded: Tensor) -> Tensor:
        """InfoNCE both ways (CLIP, arXiv 2103.00020), in which every caption that is true of an image is right."""
        similar = self.eyes.scale() * embedded @ self.eyes.read(self.captions.states[rows]).T
        fits = self.captions.fits(scenes, rows).float()
        of_images = -(log_softmax(similar, 1) * fits / fits.sum(1, keepdim=True)).sum(1).mean()
        of_texts = -(log_softmax(similar, 0) * fits / fits.sum(0, keepdim=True)).sum(0).mean()
        return (of_images + of_texts) / 2


def _weights(renderings: Renderings) -> Tensor:
    """How often each rendering is shown: all concepts alike, half in their own colours, the first set most."""
    cells = renderings.concepts * 100 + renderings.sets * 2 + (renderings.colours >= 0)
    weights = 1.0 / torch.bincount(cells)[cells].double()
    sets = torch.bincount(renderings.concepts * 2 + (renderings.sets > 0), weights=weights)
    shares = torch.where(renderings.sets == 0, HOUSE_SHARE, 1 - HOUSE_SHARE)
    return weights * shares / sets[renderings.concepts * 2 + (renderings.sets > 0)]

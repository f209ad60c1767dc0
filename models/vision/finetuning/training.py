"""The training loop: epochs over the examples, judged by the held-out ones, until nothing gets better."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from models.errors import FinetuneError
from models.vision.finetuning.examples import Dataset, Example
from models.vision.finetuning.learners import Learner
from models.vision.finetuning.metrics import scores
from models.vision.finetuning.options import Options

_WEIGHT_DECAY = 0.01
_WARM_UP = 0.1
"""The part of all steps over which the learning rate rises; over the rest it falls as a cosine."""
_GRADIENT_MAX = 1.0


@dataclass(frozen=True)
class Counted:
    """How far a part of the run is: ``images`` are checked, ``features`` computed, or the batches of ``epoch 3``."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class Epoch:
    """What one pass over the examples came to."""

    number: int
    """From 1."""
    epochs: int
    """How many there are at most."""
    loss: float
    held_out_loss: float
    scores: Mapping[str, float]
    """Of the held-out images; see :func:`models.vision.finetuning.metrics.scores`."""
    is_best: bool
    """Whether it is better than all before."""


def seed_all(seed: int) -> None:
    """Seed every generator that timm's augmentation and torch draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def targets_of(dataset: Dataset, examples: Sequence[Example]) -> Tensor:
    """The right labels: int64 [images], or float [images, labels] of 0 and 1 for multi-label data."""
    if not dataset.is_multi_label:
        return torch.tensor([example.labels[0] for example in examples])
    targets = torch.zeros(len(examples), len(dataset.labels))
    for row, example in enumerate(examples):
        targets[row, list(example.labels)] = 1
    return targets


def loss_of(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Cross entropy, or for multi-label targets that of each label by itself."""
    if targets.dim() == 1:
        return cross_entropy(logits, targets, reduction=reduction)
    return binary_cross_entropy_with_logits(logits, targets, reduction=reduction)


def train(
    learner: Learner, learnt: Sequence[Example], targets: Tensor, judged: Tensor, options: Options
) -> Iterator[Counted | Epoch]:
    """Train until the epochs are over or ``patience`` of them brought nothing; then ``learner`` has the best weights.

    Args:
        targets: those of the examples to learn from, ``judged`` those of the held-out ones; see :func:`targets_of`.

    Raises:
        FinetuneError: the loss is not finite.
    """
    steps = max(1, len(learnt) // options.batch_size)
    optimizer = torch.optim.AdamW(learner.trained.parameters(), lr=options.rate, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step / (steps * options.epochs)))
    best, best_at, kept = (-math.inf, -math.inf), 0, copy.deepcopy(learner.trained.state_dict())
    for number in range(1, options.epochs + 1):
        loss = yield from _epoch(learner, learnt, targets, optimizer, schedule, f"epoch {number}", steps)
        logits = learner.judged()
        found, held_out_loss = scores(logits, judged), float(loss_of(logits, judged))
        if not math.isfinite(held_out_loss):
            raise FinetuneError(f"the loss of the held-out images is not finite after epoch {number}: {_ADVICE}")
        reached = next(iter(found.values())), -held_out_loss
        is_best = reached > best
        if is_best:
            best, best_at, kept = reached, number, copy.deepcopy(learner.trained.state_dict())
        yield Epoch(number, options.epochs, loss, held_out_loss, found, is_best)
        if number - best_at >= options.patience:
            break
    learner.trained.load_state_dict(kept)


_ADVICE = "a lower learning rate helps, unless the model or an image is broken"


def _pace(done: float) -> float:
    """The factor of the learning rate when the share ``done`` of all steps is over."""
    if done < _WARM_UP:
        return 0.05 + 0.95 * done / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))


def _epoch(
    learner: Learner,
    learnt: Sequence[Example],
    targets: Tensor,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    name: str,
    steps: int,
) -> Generator[Counted, None, float]:
    """Train over all examples once: yields how far it is; returns the mean loss."""
    total = 0.0
    for step, places in enumerate(torch.randperm(len(learnt)).tensor_split(steps), 1):
        logits = learner.logits(places.tolist())
        loss = loss_of(logits, targets[places].to(logits.device))
        if not torch.isfinite(loss):
            names = ", ".join(learnt[place].file.name for place in places[:3].tolist())
            raise FinetuneError(f"the loss is not finite in {name}, batch {step} of {steps} ({names}, ...): {_ADVICE}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.trained.parameters(), _GRADIENT_MAX)
        optimizer.step()
        schedule.step()
        total += float(loss.detach()) * len(places)
        yield Counted(name, step, steps)
    return total / len(learnt)

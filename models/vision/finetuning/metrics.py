"""How good a classifier is: accuracy, F1, mean average precision, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

ACCURACY, F1, MEAN_AVERAGE_PRECISION = "accuracy", "f1", "map"


def scores(logits: Tensor, targets: Tensor) -> Mapping[str, float]:
    """The scores from 0 to 1; the first one is that by which the best epoch is chosen.

    Args:
        logits: [images, labels].
        targets: the right label of each image, int64 [images], or 1 for each right label, float [images, labels].
    """
    if targets.dim() == 1:
        guessed = logits.argmax(1)
        accuracy = float((guessed == targets).double().mean())
        return {ACCURACY: accuracy, F1: mean_f1(one_hot(guessed, logits), one_hot(targets, logits))}
    precision = average_precisions(logits, targets).nanmean()
    return {MEAN_AVERAGE_PRECISION: float(precision), F1: mean_f1(logits > 0, targets > 0)}


def one_hot(labels: Tensor, logits: Tensor) -> Tensor:
    """Bool [images, labels] of the labels [images]."""
    return torch.nn.functional.one_hot(labels, logits.shape[1]).bool()


def mean_f1(guessed: Tensor, right: Tensor) -> float:
    """The mean of the F1 of all labels that occur in ``guessed`` or ``right``, bool [images, labels]."""
    return float(f1_by_label(guessed, right).nanmean())


def f1_by_label(guessed: Tensor, right: Tensor) -> Tensor:
    """F1 of each label, float64 [labels]; NaN for a label that occurs in neither."""
    hits = (guessed & right).sum(0).double()
    return 2 * hits / (guessed.sum(0) + right.sum(0))


def average_precisions(logits: Tensor, targets: Tensor) -> Tensor:
    """The average precision of each label, float64 [labels]; NaN for a label that no image has.

    It is the mean of the precision at each image that has the label, the images sorted by their logit.
    """
    order = logits.argsort(stable=True, dim=0, descending=True)
    right = targets.gather(0, order).double()
    precision = right.cumsum(0) / torch.arange(1, len(right) + 1, dtype=torch.float64)[:, None]
    return (precision * right).sum(0) / right.sum(0)


def confusion(logits: Tensor, targets: Tensor) -> Tensor:
    """How many images of each label (rows) were taken for which (columns), int64 [labels, labels]."""
    labels = logits.shape[1]
    return torch.bincount(targets * labels + logits.argmax(1), minlength=labels**2).reshape(labels, labels)

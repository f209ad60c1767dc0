"""What is trained: a new classifier over features that are computed once, or a whole model over augmented images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.errors import FinetuneError
from models.vision.finetuning.examples import Example
from models.vision.finetuning.images import in_threads, read_image
from models.vision.finetuning.options import Options
from models.vision.model import POOLED, VisionModel
from models.vision.timm_import import import_timm

_CHUNK = 32
"""How many images go through a model at once where nothing is trained."""
_TOLERANCE = 1e-3


class Learner(Protocol):
    """A module in training, and its inputs."""

    trained: nn.Module

    def logits(self, places: Sequence[int]) -> Tensor:
        """The logits of the examples to learn from at ``places``, with gradients: [places, labels]."""
        ...

    def judged(self) -> Tensor:
        """The logits of all held-out examples on the CPU: [images, labels]."""
        ...

    def finish(self) -> None:
        """Put what was learnt into the model, ready to be saved."""
        ...


def put_classifier(model: VisionModel, labels: int) -> nn.Linear:
    """Replace the model's classifier by a new one with so many labels.

    Raises:
        FinetuneError: the model's classifier is not one linear layer after the pooled vector.
    """
    model.module.reset_classifier(labels)
    classifier = model.module.to(model.device).eval().get_classifier()
    if not isinstance(classifier, nn.Linear) or not _reads_pooled(model, classifier):
        raise FinetuneError(
            f"the vision model {model.spec.name!r} has no classifier that can be replaced: choose another"
        )
    return classifier


@torch.inference_mode()
def _reads_pooled(model: VisionModel, classifier: nn.Linear) -> bool:
    features = model.forward(torch.zeros(1, *model.config["input_size"]))
    pooled = model.read(features, POOLED)
    if pooled.dim() != 2 or pooled.shape[1] != classifier.in_features:
        return False
    return torch.allclose(classifier(pooled), model.module.forward_head(features), atol=_TOLERANCE)


class FrozenLearner:
    """Trains the classifier alone, over features that :func:`features` has computed.

    The classifier learns from features of mean 0 and deviation 1, so that one learning rate suits all models.
    """

    def __init__(self, classifier: nn.Linear, learnt: Tensor, held_out: Tensor) -> None:
        self._classifier = classifier
        self._mean, self._scale = learnt.mean(0), learnt.std(0) + 1e-6
        self._learnt, self._held_out = ((each - self._mean) / self._scale for each in (learnt, held_out))
        self.trained: nn.Module = nn.Linear(classifier.in_features, classifier.out_features)

    def logits(self, places: Sequence[int]) -> Tensor:
        found: Tensor = self.trained(self._learnt[places])
        return found

    @torch.no_grad()
    def judged(self) -> Tensor:
        found: Tensor = self.trained(self._held_out)
        return found

    @torch.no_grad()
    def finish(self) -> None:
        trained: Any = self.trained
        weight = trained.weight / self._scale
        self._classifier.weight.copy_(weight)
        self._classifier.bias.copy_(trained.bias - weight @ self._mean)


class FullLearner:
    """Trains all weights of a model over images that timm augments anew in each epoch."""

    def __init__(
        self, model: VisionModel, learnt: Sequence[Example], held_out: Sequence[Example], options: Options
    ) -> None:
        self._model, self._learnt, self._held_out = model, learnt, held_out
        self._augment = _augmentation(model, options)
        self.trained: nn.Module = model.module.requires_grad_(True)

    def logits(self, places: Sequence[int]) -> Tensor:
        # One after the other: timm draws from the random numbers of the whole process, in the order of the calls.
        images = [self._augment(read_image(self._learnt[place].file)) for place in places]
        found: Tensor = self.trained.train()(torch.stack(images).to(self._model.device))
        return found

    def judged(self) -> Tensor:
        self.trained.eval()
        return torch.cat(list(_outputs(self._model, self._held_out, "logits")))

    def finish(self) -> None:
        self.trained.eval().requires_grad_(False)


def _augmentation(model: VisionModel, options: Options) -> Any:
    try:
        return import_timm().data.create_transform(
            **model.config, is_training=True, scale=(options.min_scale, 1.0), hflip=0.5 if options.flip else 0.0,
            auto_augment=options.augment,
        )  # fmt: skip
    except Exception as error:  # timm asserts, or lets int() fail
        if options.augment is None:
            raise
        raise FinetuneError(f"timm has no augmentation {options.augment!r}") from error


def features(model: VisionModel, examples: Sequence[Example]) -> Iterator[Tensor]:
    """The pooled vectors of the examples on the CPU, chunk by chunk: each [at most 32, width]."""
    return _outputs(model, examples, POOLED)


def _outputs(model: VisionModel, examples: Sequence[Example], what: str) -> Iterator[Tensor]:
    prepared = in_threads(lambda example: model.transform(read_image(example.file)), examples)
    for start in range(0, len(examples), _CHUNK):
        count = min(_CHUNK, len(examples) - start)
        yield model.see([next(prepared) for _ in range(count)], what)

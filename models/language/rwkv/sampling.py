"""Samples the next token of one sequence from its logits, with a random generator for each sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import PhotogramError

_NUCLEUS_TRIAL = 512
"""The nucleus is looked for among this many tokens first, because sorting the whole vocabulary takes far longer."""
_TEMPERATURE_MIN = 1e-5
"""Lower temperatures are treated as 0: the results are equal in float32, and a division could overflow."""


class NotFinite(PhotogramError):
    """The logits are NaN or infinite: the weights are damaged, or overflow in this precision."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling parameters, with the names and meanings of OpenAI's API and vLLM."""

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    """Sample among the most likely tokens whose probabilities add up to this."""
    top_k: int = 0
    """Sample among this many of the most likely tokens; 0 is no limit."""
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens that occur in prompt or completion, and multiplies negative ones."""
    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens that occur in the completion."""
    frequency_penalty: float = 0.0
    """Subtracted once for each occurrence of the token in the completion."""
    seed: int | None = None
    """Signed 64 bits; None is a random seed."""


class Sampler:
    """Samples the tokens of one sequence, and counts them for the penalties."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._sampling = sampling
        self._prompt = frozenset(prompt) if sampling.repetition_penalty != 1 else frozenset()
        self._completion: Counter[int] = Counter()
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    def sample(self, logits: Tensor) -> int:
        """The next token, from ``logits`` [V] in float32.

        Raises:
            NotFinite: the largest logit is NaN or infinite.
        """
        scores = self._penalised(logits)
        best = scores.max()
        if not torch.isfinite(best):
            raise NotFinite("the model gave logits that are not finite")
        if self._sampling.temperature < _TEMPERATURE_MIN:
            token = int(scores.argmax())
        else:
            token = self._multinomial((scores - best) / self._sampling.temperature)
        self._completion[token] += 1
        return token

    def _penalised(self, logits: Tensor) -> Tensor:
        params = self._sampling
        seen = list(self._prompt | self._completion.keys()) if params.repetition_penalty != 1 else []
        generated = list(self._completion) if params.presence_penalty or params.frequency_penalty else []
        if not seen and not generated:
            return logits
        scores = logits.clone()
        if seen:
            old = scores[seen]
            scores[seen] = torch.where(old > 0, old / params.repetition_penalty, old * params.repetition_penalty)
        if generated:
            counts = torch.tensor([self._completion[token] for token in generated])
            scores[generated] -= params.presence_penalty + params.frequency_penalty * counts
        return scores

    def _multinomial(self, scores: Tensor) -> int:
        """A random token among those that remain after ``top_k`` and then ``top_p``."""
        params, ids = self._sampling, None
        if 0 < params.top_k < len(scores):
            scores, ids = scores.topk(params.top_k)
        weights = scores.softmax(0)
        if params.top_p < 1:
            weights, places = _nucleus(weights, params.top_p)
            ids = places if ids is None else ids[places]
        place = int(torch.multinomial(weights, 1, generator=self._generator))
        return place if ids is None else int(ids[place])


def _nucleus(weights: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The smallest set of the largest ``weights`` that add up to ``top_p``, and their indices."""
    size = min(_NUCLEUS_TRIAL, len(weights))
    largest, places = weights.topk(size)
    if float(largest.sum()) < top_p:
        largest, places = weights.sort(descending=True)
    before = largest.cumsum(0) - largest
    count = max(int((before < top_p).sum()), 1)
    return largest[:count], places[:count]

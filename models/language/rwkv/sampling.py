"""One token chosen from the logits of one sequence, with a random generator of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import PhotogramError

_FIRST_LOOK = 512
"""Among so many of the likeliest tokens the nucleus is looked for first; sorting all of them takes far longer."""
_COLDEST = 1e-5
"""Temperatures below this are taken for 0: float32 could not tell the difference, and might divide by zero."""


class NotFinite(PhotogramError):
    """The model's logits are no numbers: its weights are damaged, or overflow in this precision."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen; the names and meanings are those of OpenAI's API and of vLLM."""

    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    """Only the likeliest tokens that together have this probability are left."""
    top_k: int = 0
    """Only so many of the likeliest tokens are left; 0 is no limit."""
    repetition_penalty: float = 1.0
    """Logits of tokens in the prompt or the answer are divided by this if they are positive, else multiplied."""
    presence_penalty: float = 0.0
    """Taken off the logits of tokens in the answer."""
    frequency_penalty: float = 0.0
    """Taken off as often as the token is in the answer."""
    seed: int | None = None
    """64 bits with a sign; without it, no two answers are chosen alike."""


class Sampler:
    """Chooses the tokens of one sequence, and remembers them for the penalties."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._sampling = sampling
        self._prompt = frozenset(prompt) if sampling.repetition_penalty != 1 else frozenset()
        self._answer: Counter[int] = Counter()
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    def pick(self, logits: Tensor) -> int:
        """The next token, chosen by ``logits`` [V] in float32.

        Raises:
            NotFinite: the logits have no maximum.
        """
        scores = self._penalised(logits)
        best = scores.max()
        if not torch.isfinite(best):
            raise NotFinite("the model gave logits that are no numbers")
        if self._sampling.temperature < _COLDEST:
            token = int(scores.argmax())
        else:
            token = self._drawn((scores - best) / self._sampling.temperature)
        self._answer[token] += 1
        return token

    def _penalised(self, logits: Tensor) -> Tensor:
        chosen = self._sampling
        seen = list(self._prompt | self._answer.keys()) if chosen.repetition_penalty != 1 else []
        told = list(self._answer) if chosen.presence_penalty or chosen.frequency_penalty else []
        if not seen and not told:
            return logits
        scores = logits.clone()
        if seen:
            old = scores[seen]
            scores[seen] = torch.where(old > 0, old / chosen.repetition_penalty, old * chosen.repetition_penalty)
        if told:
            counts = torch.tensor([self._answer[token] for token in told])
            scores[told] -= chosen.presence_penalty + chosen.frequency_penalty * counts
        return scores

    def _drawn(self, scores: Tensor) -> int:
        """A token drawn from those that ``top_k`` and, of the rest, ``top_p`` leave."""
        chosen, ids = self._sampling, None
        if 0 < chosen.top_k < len(scores):
            scores, ids = scores.topk(chosen.top_k)
        weights = scores.softmax(0)
        if chosen.top_p < 1:
            weights, places = _nucleus(weights, chosen.top_p)
            ids = places if ids is None else ids[places]
        place = int(torch.multinomial(weights, 1, generator=self._generator))
        return place if ids is None else int(ids[place])


def _nucleus(weights: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The fewest largest of ``weights`` that make up ``top_p`` of all, and where they are."""
    size = min(_FIRST_LOOK, len(weights))
    largest, places = weights.topk(size)
    if float(largest.sum()) < top_p:
        largest, places = weights.sort(descending=True)
    before = largest.cumsum(0) - largest
    count = max(int((before < top_p).sum()), 1)
    return largest[:count], places[:count]

"""Continuous batching: sequences join and leave the batch between tokens.

A step decodes one token of every running sequence, then prefills a bounded number of prompt tokens. The states of the
running sequences are the first rows of one pool, so that the model uses them in place; when a sequence ends, the last
row is moved to its row.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.language.rwkv.model import Model
from models.language.rwkv.prefixes import PrefixCache
from models.language.rwkv.sampling import NotFinite, Sampler, Sampling
from models.language.rwkv.stop import StopStrings
from models.language.rwkv.vocabulary import END, TextStream, Vocabulary
from models.language.rwkv.weights import BadWeights

STOP, LENGTH, FAILED = "stop", "length", "failed"
"""Finish reasons: end token or stop string, ``max_tokens`` reached, or logits that are not finite."""


@dataclass(frozen=True, kw_only=True)
class Request:
    prompt: tuple[int, ...]
    """At least one token."""
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    trims_start: bool = False
    """Remove whitespace at the start of the completion."""


@dataclass(frozen=True)
class Progress:
    """What one step added to one sequence."""

    sequence: Sequence
    text: str
    finish: str | None = None
    """``STOP``, ``LENGTH`` or ``FAILED`` if the sequence ended."""


class Sequence:
    """One request and its progress; any thread may read the counters."""

    def __init__(self, request: Request, vocabulary: Vocabulary) -> None:
        self.request = request
        self.reused_tokens = 0
        """How many prompt tokens were not prefilled, because the state after them was cached."""
        self.completion_tokens = 0
        self.token = END
        """The last token."""
        self._text = TextStream(vocabulary)
        self._stop = StopStrings(request.stop)
        self._sampler = Sampler(request.sampling, request.prompt)
        self._trims = request.trims_start

    def append(self, logits: Tensor) -> Progress:
        """Sample the next token from ``logits`` [V]."""
        try:
            self.token = self._sampler.sample(logits)
        except NotFinite:
            return Progress(self, "", FAILED)
        self.completion_tokens += 1
        if self.token == END:
            return Progress(self, self._trimmed(self._stop.rest()), STOP)
        text, is_over = self._stop.feed(self._text.feed(self.token))
        if is_over:
            return Progress(self, self._trimmed(text), STOP)
        if self.completion_tokens == self.request.max_tokens:
            return Progress(self, self._trimmed(text + self._stop.rest()), LENGTH)
        return Progress(self, self._trimmed(text))

    def _trimmed(self, text: str) -> str:
        text = text.lstrip() if self._trims else text
        self._trims = self._trims and not text
        return text


@dataclass
class _Prefill:
    """A prompt in prefill."""

    sequence: Sequence
    position: int
    pause: int | None
    """The position where the state is cached, for other prompts with the same prefix."""

    def next_position(self, max_tokens: int) -> int:
        """The position after the next chunk of at most ``max_tokens``."""
        end = len(self.sequence.request.prompt)
        if self.pause is not None and self.position < self.pause:
            end = self.pause
        return min(end, self.position + max_tokens)


class Engine:
    """The model and its sequences; for one thread, except that any thread may read the counters."""

    def __init__(
        self,
        model: Model,
        vocabulary: Vocabulary,
        *,
        max_sequences: int = 32,
        prefill_tokens: int = 64,
        max_prefixes: int = 8,
    ) -> None:
        """Allocate the states of all sequences.

        Args:
            model: The loaded checkpoint.
            vocabulary: Its vocabulary.
            max_sequences: The largest number of sequences that are decoded together.
            prefill_tokens: The largest number of prompt tokens in a step; running sequences wait for their prefill.
            max_prefixes: The capacity of the prefix cache.

        Raises:
            BadWeights: the model has fewer tokens than the vocabulary.
        """
        if model.vocabulary_size < vocabulary.size:
            raise BadWeights(
                f"the model knows {model.vocabulary_size} tokens, and its vocabulary has {vocabulary.size}"
            )
        self.vocabulary = vocabulary
        self.vocabulary_size = model.vocabulary_size
        self.max_sequences = max_sequences
        self.running: list[Sequence] = []
        """In the order of their rows in the pool."""
        self.waiting: deque[Sequence] = deque()
        self.generated_tokens = self.prompt_tokens = self.reused_tokens = self.prefix_hits = 0
        self._model, self._prefill_tokens = model, prefill_tokens
        self._pool, self._prefill_state = model.new_state(max_sequences), model.new_state(1)
        self._prefixes = PrefixCache(max_prefixes)
        self._prefilling: _Prefill | None = None

    @property
    def is_idle(self) -> bool:
        """Whether a step would do nothing."""
        return not (self.running or self.waiting or self._prefilling)

    def add(self, request: Request) -> Sequence:
        """Queue a request."""
        sequence = Sequence(request, self.vocabulary)
        self.waiting.append(sequence)
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Drop a sequence in any state; it makes no more progress. A finished one is ignored."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        elif sequence in self.running:
            self._remove_row(self.running.index(sequence))
        elif self._prefilling is not None and self._prefilling.sequence is sequence:
            self._prefilling = None

    def clear(self) -> None:
        """Drop all sequences."""
        self.waiting.clear()
        self.running.clear()
        self._prefilling = None

    def step(self) -> list[Progress]:
        """Decode one token of every running sequence, then prefill at most ``prefill_tokens``."""
        decoded = self._decode()
        return decoded + self._prefill()

    def _decode(self) -> list[Progress]:
        if not self.running:
            return []
        tokens = torch.tensor([[sequence.token] for sequence in self.running])
        logits = self._model.forward(tokens, self._pool.rows(0, len(self.running))).cpu()
        decoded = [sequence.append(row) for sequence, row in zip(self.running, logits, strict=True)]
        self.generated_tokens += len(decoded)
        for row in reversed(range(len(decoded))):
            if decoded[row].finish is not None:
                self._remove_row(row)
        return [progress for progress in decoded if progress.text or progress.finish]

    def _remove_row(self, row: int) -> None:
        last = len(self.running) - 1
        if row != last:
            self._pool.rows(row, row + 1).assign(self._pool.rows(last, last + 1))
            self.running[row] = self.running[last]
        self.running.pop()

    def _prefill(self) -> list[Progress]:
        """Prefill prompts one after the other, in order of arrival; a complete one gets its first token."""
        started, left = [], self._prefill_tokens
        while left > 0 and (prefill := self._prefilling or self._next_prefill()) is not None:
            prompt, start = prefill.sequence.request.prompt, prefill.position
            prefill.position = prefill.next_position(left)
            left -= prefill.position - start
            logits = self._model.forward(torch.tensor([prompt[start : prefill.position]]), self._prefill_state)
            if prefill.position == prefill.pause:
                self._prefixes.put(prompt[: prefill.position], self._prefill_state)
            if prefill.position == len(prompt):
                self._prefilling = None
                started.append(self._start(prefill.sequence, logits[0].cpu()))
        return [progress for progress in started if progress.text or progress.finish]

    def _next_prefill(self) -> _Prefill | None:
        """Begin the prompt that has waited longest, if a row is free."""
        if not self.waiting or len(self.running) == self.max_sequences:
            return None
        sequence = self.waiting.popleft()
        prompt = sequence.request.prompt
        known, state = self._prefixes.longest(prompt)
        if state is None:
            self._prefill_state.clear()
        else:
            self._prefill_state.assign(state)
            self.prefix_hits += 1
        sequence.reused_tokens = known
        self.prompt_tokens += len(prompt)
        self.reused_tokens += known
        self._prefilling = _Prefill(sequence, known, self._prefixes.pause_at(prompt, known))
        return self._prefilling

    def _start(self, sequence: Sequence, logits: Tensor) -> Progress:
        """Sample the first token and add the sequence to the batch."""
        progress = sequence.append(logits)
        self.generated_tokens += 1
        if progress.finish is None:
            row = len(self.running)
            self._pool.rows(row, row + 1).assign(self._prefill_state)
            self.running.append(sequence)
        return progress

"""Many sequences written at once: with every token some may join and others leave.

A tick writes one token of every sequence that runs, then reads a bounded piece of the prompts that wait. The memories
of those that run are the first rows of one pool, so that the model works on them where they are; when a sequence
leaves, the last row takes its place.
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
"""Why a sequence is over: it came to an end or a stop string, it has all its tokens, or the model gave no numbers."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A text to be continued."""

    prompt: tuple[int, ...]
    """At least one token."""
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    trims_start: bool = False
    """Leave out the whitespace that the answer starts with."""


@dataclass(frozen=True)
class Progress:
    """What a tick added to one sequence."""

    sequence: Sequence
    text: str
    finish: str | None = None
    """``STOP``, ``LENGTH`` or ``FAILED`` once the sequence is over."""


class Sequence:
    """One request and how far it is; the numbers may be read by anyone, at any time."""

    def __init__(self, request: Request, vocabulary: Vocabulary) -> None:
        self.request = request
        self.reused_tokens = 0
        """How many tokens of the prompt were not read, because the memory after them was kept."""
        self.completion_tokens = 0
        self.token = END
        """The one that was written last."""
        self._text = TextStream(vocabulary)
        self._stop = StopStrings(request.stop)
        self._sampler = Sampler(request.sampling, request.prompt)
        self._trims = request.trims_start

    def write(self, logits: Tensor) -> Progress:
        """Choose the next token by ``logits`` [V]."""
        try:
            self.token = self._sampler.pick(logits)
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
class _Reading:
    """A prompt that is being read."""

    sequence: Sequence
    position: int
    pause: int | None
    """Where the memory is to be kept, for other prompts that start like this one."""

    def next_stretch(self, most: int) -> int:
        """Up to where to read now, ``most`` tokens at most."""
        end = len(self.sequence.request.prompt)
        if self.pause is not None and self.position < self.pause:
            end = self.pause
        return min(end, self.position + most)


class Engine:
    """The model and its sequences; for use by one thread, apart from reading the counters."""

    def __init__(
        self,
        model: Model,
        vocabulary: Vocabulary,
        *,
        max_sequences: int = 32,
        read_tokens: int = 64,
        max_prefixes: int = 8,
    ) -> None:
        """Take room for the sequences.

        Args:
            model: What writes.
            vocabulary: What its tokens mean.
            max_sequences: How many are written at once.
            read_tokens: How many tokens of prompts are read in a tick; those that run wait for that long.
            max_prefixes: How many memories of common prefixes are kept.

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
        """Each at the place of its row in the pool."""
        self.waiting: deque[Sequence] = deque()
        self.generated_tokens = self.prompt_tokens = self.reused_tokens = self.prefix_hits = 0
        self._model, self._read_tokens = model, read_tokens
        self._pool, self._desk = model.new_state(max_sequences), model.new_state(1)
        self._prefixes = PrefixCache(max_prefixes)
        self._reading: _Reading | None = None

    @property
    def is_idle(self) -> bool:
        """Whether a tick would do nothing."""
        return not (self.running or self.waiting or self._reading)

    def add(self, request: Request) -> Sequence:
        """Let a sequence wait for its turn."""
        sequence = Sequence(request, self.vocabulary)
        self.waiting.append(sequence)
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Forget a sequence, wherever it is; nothing more is heard of it."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        elif sequence in self.running:
            self._leave(self.running.index(sequence))
        elif self._reading is not None and self._reading.sequence is sequence:
            self._reading = None

    def clear(self) -> None:
        """Forget all sequences."""
        self.waiting.clear()
        self.running.clear()
        self._reading = None

    def tick(self) -> list[Progress]:
        """Write one token of every sequence that runs, and read a piece of the prompts."""
        written = self._write()
        return written + self._read()

    def _write(self) -> list[Progress]:
        if not self.running:
            return []
        tokens = torch.tensor([[sequence.token] for sequence in self.running])
        logits = self._model.forward(tokens, self._pool.rows(0, len(self.running))).cpu()
        written = [sequence.write(row) for sequence, row in zip(self.running, logits, strict=True)]
        self.generated_tokens += len(written)
        for row in reversed(range(len(written))):
            if written[row].finish is not None:
                self._leave(row)
        return [progress for progress in written if progress.text or progress.finish]

    def _leave(self, row: int) -> None:
        last = len(self.running) - 1
        if row != last:
            self._pool.rows(row, row + 1).take(self._pool.rows(last, last + 1))
            self.running[row] = self.running[last]
        self.running.pop()

    def _read(self) -> list[Progress]:
        """Read prompts, the one that came first to its end before the next; each that is read gets its first token."""
        written, left = [], self._read_tokens
        while left > 0 and (reading := self._reading or self._next_reading()) is not None:
            prompt, start = reading.sequence.request.prompt, reading.position
            reading.position = reading.next_stretch(left)
            left -= reading.position - start
            logits = self._model.forward(torch.tensor([prompt[start : reading.position]]), self._desk)
            if reading.position == reading.pause:
                self._prefixes.keep(prompt[: reading.position], self._desk)
            if reading.position == len(prompt):
                self._reading = None
                written.append(self._join(reading.sequence, logits[0].cpu()))
        return [progress for progress in written if progress.text or progress.finish]

    def _next_reading(self) -> _Reading | None:
        """Start with the prompt that waits longest, if there is room for one more sequence."""
        if not self.waiting or len(self.running) == self.max_sequences:
            return None
        sequence = self.waiting.popleft()
        prompt = sequence.request.prompt
        known, state = self._prefixes.longest(prompt)
        if state is None:
            self._desk.clear()
        else:
            self._desk.take(state)
            self.prefix_hits += 1
        sequence.reused_tokens = known
        self.prompt_tokens += len(prompt)
        self.reused_tokens += known
        self._reading = _Reading(sequence, known, self._prefixes.worth_keeping(prompt, known))
        return self._reading

    def _join(self, sequence: Sequence, logits: Tensor) -> Progress:
        """Write the first token, and run with the others from then on."""
        progress = sequence.write(logits)
        self.generated_tokens += 1
        if progress.finish is None:
            row = len(self.running)
            self._pool.rows(row, row + 1).take(self._desk)
            self.running.append(sequence)
        return progress

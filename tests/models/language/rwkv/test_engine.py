"""The engine's ticks: sequences that join and leave at any token, and prompts whose start is read once."""

from __future__ import annotations

from collections.abc import Sequence as Sequence_
from typing import Any

import pytest
import torch

from models.language.rwkv.engine import FAILED, LENGTH, STOP, Engine, Request, Sequence
from models.language.rwkv.model import Model
from models.language.rwkv.sampling import Sampling
from models.language.rwkv.vocabulary import END, Vocabulary
from models.language.rwkv.weights import BadWeights

GREEDY = Sampling(temperature=0)


def prompt(text: str) -> tuple[int, ...]:
    return tuple(byte + 1 for byte in text.encode())


def asked(text: str, max_tokens: int = 12, **more: Any) -> Request:
    return Request(prompt=prompt(text), max_tokens=max_tokens, **({"sampling": GREEDY} | more))


def finish(engine: Engine, steps: int = 500) -> dict[Sequence, tuple[str, str]]:
    """Step until the engine is idle; text and finish reason of every sequence that ended."""
    texts: dict[Sequence, str] = {}
    done = {}
    for _ in range(steps):
        for progress in engine.step():
            texts[progress.sequence] = texts.get(progress.sequence, "") + progress.text
            if progress.finish is not None:
                done[progress.sequence] = (texts[progress.sequence], progress.finish)
        if engine.is_idle:
            return done
    raise AssertionError("the engine does not become idle")


def written(model: Model, vocabulary: Vocabulary, request: Request) -> tuple[str, str]:
    engine = Engine(model, vocabulary, max_sequences=1, max_prefixes=0)
    engine.add(request)
    (answer,) = finish(engine).values()
    return answer


def all_alone(model: Model, vocabulary: Vocabulary, requests: Sequence_[Request]) -> list[tuple[str, str]]:
    return [written(model, vocabulary, request) for request in requests]


@pytest.mark.parametrize("max_sequences", [2, 8])
def test_answers_are_those_of_each_request_alone(tiny: Model, letters: Vocabulary, max_sequences: int) -> None:
    requests = [asked(f"{'long ' * number} prompt {number}", 5 + 3 * number) for number in range(8)]
    requests += [asked("drawn", 20, sampling=Sampling(seed=number, top_p=0.9)) for number in range(2)]
    engine = Engine(tiny, letters, max_sequences=max_sequences, prefill_tokens=16)
    sequences = [engine.add(request) for request in requests]
    done = finish(engine)
    assert [done[sequence] for sequence in sequences] == all_alone(tiny, letters, requests)
    assert len({text for text, _ in done.values()}) == len(requests)


def test_late_joins_and_cancellations_change_no_other_sequence(tiny: Model, letters: Vocabulary) -> None:
    requests = [asked(f"prompt number {number}", 30) for number in range(5)]
    expected = all_alone(tiny, letters, requests)
    engine = Engine(tiny, letters, max_sequences=3, prefill_tokens=4)
    texts: dict[Sequence, str] = {}
    sequences = []
    for number in range(60):
        if number % 4 == 0 and len(sequences) < 5:
            sequences.append(engine.add(requests[len(sequences)]))
        for progress in engine.step():
            texts[progress.sequence] = texts.get(progress.sequence, "") + progress.text
        if number == 14:
            assert sequences[0] in engine.running
            engine.cancel(sequences[0])
            engine.cancel(sequences[0])
    while not engine.is_idle:
        for progress in engine.step():
            texts[progress.sequence] = texts.get(progress.sequence, "") + progress.text
    assert expected[0][0].startswith(texts[sequences[0]]) and sequences[0].completion_tokens < 30
    assert [texts[each] for each in sequences[1:]] == [text for text, _ in expected[1:]]


def test_waiting_and_prefilling_sequences_can_be_cancelled(tiny: Model, letters: Vocabulary) -> None:
    engine = Engine(tiny, letters, max_sequences=1, prefill_tokens=4)
    read, waiting, stays = (engine.add(asked(text * 9)) for text in ("abc", "def", "ghi"))
    assert engine.step() == [] and len(engine.waiting) == 2
    engine.cancel(read)
    engine.cancel(waiting)
    assert finish(engine) == {stays: written(tiny, letters, asked("ghi" * 9))}
    assert (read.completion_tokens, waiting.completion_tokens) == (0, 0)
    engine.add(asked("x"))
    engine.clear()
    assert engine.is_idle


def test_a_sequence_ends_by_length_by_stop_string_or_by_the_end_token(tiny: Model, letters: Vocabulary) -> None:
    text, reason = written(tiny, letters, asked("hello", 40))
    assert reason == LENGTH
    assert len(text) >= 20
    stop = text[7:9]
    assert written(tiny, letters, asked("hello", 40, stop=(stop,))) == (text[: text.index(stop)], STOP)
    engine = Engine(tiny, letters)
    ended = engine.add(asked("hello", 40))
    engine.step()
    ended._sampler.sample = lambda _: END  # type: ignore[method-assign]
    assert finish(engine)[ended][1] == STOP
    assert engine.generated_tokens == ended.completion_tokens == 2


def test_the_start_can_be_trimmed(tiny: Model, letters: Vocabulary) -> None:
    engine = Engine(tiny, letters)
    sequence = engine.add(asked("hello", 4, trims_start=True))
    tokens = iter(prompt(" \n a "))
    sequence._sampler.sample = lambda _: next(tokens)  # type: ignore[method-assign]
    assert finish(engine)[sequence] == ("a", LENGTH)


def test_a_model_without_numbers_ends_its_own_sequence_only(tiny: Model, letters: Vocabulary) -> None:
    engine = Engine(tiny, letters, max_sequences=2)
    broken, fine = engine.add(asked("broken", 9)), engine.add(asked("fine", 9))
    first = {progress.sequence: progress.text for progress in engine.step()}
    engine._pool.wkv[:, 0] = torch.nan
    done = finish(engine)
    assert done[broken] == ("", FAILED)
    text, reason = done[fine]
    assert (first.get(fine, "") + text, reason) == written(tiny, letters, asked("fine", 9))


def test_a_model_that_lacks_tokens_of_the_vocabulary_is_refused(tiny: Model, world: Vocabulary) -> None:
    with pytest.raises(BadWeights, match="257 tokens, and its vocabulary has 65530"):
        Engine(tiny, world)


def test_a_common_prefix_is_prefilled_once(tiny: Model, letters: Vocabulary) -> None:
    requests = [asked("You expand ideas into prompts. " * 4 + idea) for idea in ("a cat", "red car", "the sea", "fog")]
    engine = Engine(tiny, letters, prefill_tokens=50)
    sequences = [engine.add(request) for request in requests]
    done = finish(engine)
    assert [done[sequence] for sequence in sequences] == all_alone(tiny, letters, requests)
    common = len("You expand ideas into prompts. " * 4)
    assert [sequence.reused_tokens for sequence in sequences] == [0, 0, common, common]
    assert (engine.prefix_hits, engine.reused_tokens) == (2, 2 * common)
    assert engine.prompt_tokens == sum(len(request.prompt) for request in requests)


def test_a_cached_state_equals_the_one_that_prefill_gives(tiny: Model, letters: Vocabulary) -> None:
    engine = Engine(tiny, letters, prefill_tokens=7)
    start = "the start of it all, in many words"
    for end in ("x", "y"):
        engine.add(asked(start + end, 3))
    finish(engine)
    length, kept = engine._prefixes.longest(prompt(start + "z"))
    assert length == len(start) and kept is not None
    expected = tiny.new_state(1)
    tiny.forward(torch.tensor([prompt(start)]), expected)
    torch.testing.assert_close(kept.wkv, expected.wkv, atol=2e-4, rtol=1e-5)
    torch.testing.assert_close(kept.last, expected.last, atol=5e-5, rtol=0)


def test_a_repeated_prompt_prefills_one_token(tiny: Model, letters: Vocabulary) -> None:
    engine = Engine(tiny, letters)
    sequences = [engine.add(asked("one and the same long prompt")) for _ in range(3)]
    done = finish(engine)
    assert len(set(done.values())) == 1
    assert [each.reused_tokens for each in sequences] == [0, 0, len(sequences[0].request.prompt) - 1]

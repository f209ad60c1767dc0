"""The length of a prompt, counted at submission: what is accepted here, the worker's own check never refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from models.catalog.bounds import PROMPT_CHUNKS_MAX
from models.catalog.catalog import ModelSpec, house_spec
from models.catalog.families import FLUX, SD3
from models.diffusion.text.chunks import MAX_CHUNKS, split
from models.language.lengths import length_problem

TAGS = ", ".join(f"highly detailed feature number {number}" for number in range(150))
WORDS = " ".join(["photograph", "of", "a", "lighthouse"] * 225)
WORD = some.sampled_from(["a", "cat", ",", "BREAK", "photorealistic", "(red:1.2)", "é", "東京", "1234567", "[x]", "."])


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(Path(str(house_spec().folder)) / "tokenizer")


@pytest.mark.parametrize("prompt", ["", TAGS, WORDS, "word " * 2000, "x" * 10_000])
def test_what_callers_write_is_read(prompt: str) -> None:
    assert length_problem(house_spec(), prompt) is None


@pytest.mark.parametrize("prompt", ["BREAK " * 1000, "1 2 3 " * 1600, "東京" * 2000])
def test_what_would_take_too_many_chunks_is_refused(prompt: str) -> None:
    found = length_problem(house_spec(), prompt)
    assert found is not None and f"at most {PROMPT_CHUNKS_MAX}" in found.message


@settings(max_examples=60, deadline=None)
@given(words=some.lists(WORD, max_size=40), times=some.integers(1, 120))
def test_the_worker_reads_whatever_is_accepted(tokenizer: Any, words: list[str], times: int) -> None:
    prompt = (" ".join(words) + " ") * times
    if len(prompt) <= 10_000 and length_problem(house_spec(), prompt) is None:
        assert len(split(tokenizer, prompt, {})) <= MAX_CHUNKS


def test_a_model_without_a_tokenizer_on_this_disk_is_estimated() -> None:
    spec = ModelSpec(name="far", family="sdxl", repository="nobody/nothing")
    assert length_problem(spec, TAGS) is None
    assert length_problem(spec, "BREAK " * 1000) is not None


@pytest.mark.parametrize("family", [FLUX, SD3])
def test_t5_reads_one_chunk(family: str, tmp_path: Path) -> None:
    spec = ModelSpec(name="t5", family=family, repository="nobody/nothing")
    assert length_problem(spec, "a cat on a mat, " * 60) is None
    found = length_problem(spec, TAGS)
    assert found is not None and "at most 512" in found.message
    alone = replace(spec, repository=None, folder=tmp_path)  # without the folder text_encoder_3
    assert (length_problem(alone, "a cat on a mat, " * 25) is None) == (family == FLUX)

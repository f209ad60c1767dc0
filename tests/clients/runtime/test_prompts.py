"""Texts become the tokens of the service; what it alone understands is refused."""

import random
from pathlib import Path

import pytest
from photogram_runtime import InvalidRequest
from photogram_runtime.prompts import CHARACTERS_MAX, Tokens, plain

from models.jobs.composition import is_composed
from models.jobs.prompts import Fragment, PromptError, parse
from tests.models.diffusion.rig import Studio

PIECES = ("cat", " ", "(", ")", "[", "]", "\\", ":", "1.2", "<", ">", "lora", "lyco:", "BREAK", "AND", ",", "|", "ü")


def test_a_text_is_what_the_service_reads():
    chance, accepted = random.Random(0), 0
    for _ in range(20_000):
        prompt = "".join(chance.choices(PIECES, k=chance.randint(0, 7)))
        try:
            text = plain(prompt, "prompt")
        except InvalidRequest:
            continue
        accepted += 1
        assert not is_composed(prompt)
        parsed = parse(prompt)
        assert not parsed.loras
        assert parsed.fragments == ((Fragment(text),) if text else ())
    assert accepted > 5_000


def test_a_plain_text_of_the_service_is_not_refused():
    chance = random.Random(1)
    for _ in range(20_000):
        prompt = "".join(chance.choices(PIECES, k=chance.randint(0, 7)))
        try:
            parsed = parse(prompt)
        except PromptError:
            continue
        is_plain = all(isinstance(each, Fragment) and each.weight == 1 for each in parsed.fragments)
        has_brackets = any(each in prompt.replace("\\\\", "").replace("\\(", "").replace("\\[", "") for each in "([")
        if is_plain and not has_brackets and not parsed.loras and not is_composed(prompt):
            plain(prompt, "prompt")


@pytest.mark.parametrize("prompt", [
    "a (cat:1.2)", "a ((cat))", "a [cat]", "a cat BREAK a dog", "a cat AND a dog", "a cat <lora:x:0.8>", "<lyco:x>",
    "(", "a cat <hypernet:x:1>", "\\\\(a", "x" * (CHARACTERS_MAX + 1), "half \ud83d", None, 7, b"a cat", ["a cat"],
])  # fmt: skip
def test_what_is_no_plain_text_is_refused(prompt: object):
    with pytest.raises(InvalidRequest, match=r"^prompt "):
        plain(prompt, "prompt")


def test_a_negative_prompt_may_have_the_word_and():
    assert plain("cats AND dogs", "negative_prompt") == "cats AND dogs"


@pytest.mark.parametrize("name", ["sd", "house"])
@pytest.mark.parametrize("text", ["", "a cat", "a red house, 50% off :)", "crème brûlée \N{CAT}", "  two   spaces "])
def test_tokens_are_those_of_the_pipeline(folders: dict[str, Path], studios: dict[str, Studio], name: str, text: str):
    tokenizer = studios[name].checkpoint.pipeline.tokenizer
    start, end = tokenizer("").input_ids
    tokens = Tokens(
        folders[name] / "tokenizer.json", length=tokenizer.model_max_length, start_id=start, end_id=end,
        pad_id=tokenizer.pad_token_id,
    )  # fmt: skip
    expected = tokenizer(text, padding="max_length", truncation=True, return_tensors="np")
    ids, mask = tokens.encode(text, "prompt")
    assert ids.tolist() == expected.input_ids.tolist()
    assert mask.tolist() == expected.attention_mask.tolist()


def test_a_text_of_more_than_one_chunk_is_refused(folders: dict[str, Path]):
    tokens = Tokens(folders["house"] / "tokenizer.json", length=24, start_id=2, end_id=3, pad_id=0)
    tokens.encode("a " * 22, "prompt")
    with pytest.raises(InvalidRequest, match="prompt has 23 tokens, and at most 22 can be encoded"):
        tokens.encode("a " * 23, "prompt")

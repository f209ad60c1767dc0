"""Text to tokens and back, with the World vocabulary."""

from __future__ import annotations

import random
from importlib.resources import files

import pytest
from rwkv.rwkv_tokenizer import TRIE_TOKENIZER

from models.language.rwkv.vocabulary import END, TextStream, Vocabulary

TEXTS = [
    "a cat on the roof, 8k\n\nUser: hi",
    "一只猫坐在屋顶上。猫咪",
    "кошка на крыше, ночь",
    "🐱👩‍👩‍👧‍👦🏳️‍🌈 e\u0301",
    "\0\x7f\x85\u2028\ufeff tab\there \r\n",
    "    def f(x):\n\t\treturn x ** 2",
    "",
]


def fed(vocabulary: Vocabulary, tokens: list[int]) -> list[str]:
    stream = TextStream(vocabulary)
    return [stream.feed(token) for token in tokens]


def test_texts_are_encoded_as_the_package_does(world: Vocabulary) -> None:
    reference = TRIE_TOKENIZER(str(files("rwkv") / "rwkv_vocab_v20230424.txt"))
    random_ = random.Random(1)
    letters = "".join(TEXTS)
    mixed = ["".join(random_.choices(letters, k=200)) for _ in range(20)]
    for text in TEXTS + mixed:
        assert world.encode(text) == reference.encode(text)
    assert world.size == 65530
    assert all(world.piece(token) == piece for token, piece in reference.idx2token.items())


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_from_its_tokens_and_from_its_bytes(
    world: Vocabulary, letters: Vocabulary, text: str
) -> None:
    for vocabulary in (world, letters):
        assert "".join(fed(vocabulary, vocabulary.encode(text))) == text


def test_a_character_is_held_back_until_it_is_whole(letters: Vocabulary) -> None:
    assert fed(letters, letters.encode("a猫🐱")) == ["a", "", "", "猫", "", "", "", "🐱"]


def test_bytes_that_are_no_character_become_replacements(letters: Vocabulary) -> None:
    cat = letters.encode("猫")
    assert fed(letters, [cat[0], *letters.encode("b")]) == ["", "\ufffdb"]
    assert fed(letters, [256, *cat]) == ["\ufffd", "", "", "猫"]


def test_the_end_and_unused_tokens_are_no_text(world: Vocabulary) -> None:
    assert fed(world, [END, 65530, 65535]) == ["", "", ""]


def test_half_a_surrogate_pair_is_no_text(world: Vocabulary) -> None:
    with pytest.raises(UnicodeEncodeError):
        world.encode("a\ud800")

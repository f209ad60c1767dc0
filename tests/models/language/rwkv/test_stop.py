"""Stop strings, however the text is divided into pieces."""

from __future__ import annotations

import pytest

from models.language.rwkv.stop import StopStrings


def stopped(text: str, stops: list[str], cuts: list[str]) -> tuple[list[str], bool]:
    watch, out = StopStrings(stops), []
    assert "".join(cuts) == text
    for piece in cuts:
        passed, is_over = watch.feed(piece)
        out.append(passed)
        if is_over:
            return out, True
    out.append(watch.rest())
    return out, False


def test_a_stop_string_is_found_across_pieces_and_never_leaks() -> None:
    assert stopped("abc\n\nUser", ["\n\nUser"], ["abc\n", "\nUs", "er"]) == (["abc", "", ""], True)
    assert stopped("abc\n\nUrs", ["\n\nUser"], ["abc\n", "\nU", "rs"]) == (["abc", "", "\n\nUrs", ""], False)
    assert stopped("abc\n", ["\n\n"], ["abc\n"]) == (["abc", "\n"], False)


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("xaab", ["aab"], "x"),
        ("aaaab", ["aab"], "aa"),
        ("zabcz", ["b", "abc"], "za"),
        ("zabcz", ["abc", "zabcd"], "z"),
        ("zabc", ["bc", "abc"], "z"),
        ("猫猫狗", ["猫狗"], "猫"),
        ("nothing", ["something"], "nothing"),
        ("nothing", [], "nothing"),
    ],
)
def test_the_cut_is_the_same_however_the_text_is_cut_into_pieces(text: str, stops: list[str], expected: str) -> None:
    for mask in range(1 << (len(text) - 1)):
        pieces = [text[0]]
        for at, letter in enumerate(text[1:]):
            if mask >> at & 1:
                pieces.append(letter)
            else:
                pieces[-1] += letter
        assert "".join(stopped(text, stops, pieces)[0]) == expected

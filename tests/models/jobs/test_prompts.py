"""The prompt language, held against the definition in ``parse``'s docstring."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from models.errors import PhotogramError
from models.jobs.composition import compose
from models.jobs.prompts import (
    Break,
    Fragment,
    LoraTag,
    PromptError,
    UnsupportedPromptSyntax,
    extract_loras,
    parse,
)

BREAK = Break()


def weighed(prompt: str) -> list[tuple[str, float]]:
    """The prompt's texts with their weights, rounded; there must be no break."""
    fragments = parse(prompt).fragments
    assert all(isinstance(fragment, Fragment) for fragment in fragments)
    return [(each.text, round(each.weight, 6)) for each in fragments if isinstance(each, Fragment)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat, a dog", [("a cat, a dog", 1.0)]),
        ("", []),
        ("((()))", []),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("((x))", [("x", 1.21)]),
        ("[x]", [("x", round(1 / 1.1, 6))]),
        ("[(x)]", [("x", 1.0)]),
        ("(x:1.3)", [("x", 1.3)]),
        ("(x : +.5 )", [("x ", 0.5)]),
        ("(x:-2)", [("x", -2.0)]),
        ("(x:0)", [("x", 0.0)]),
        ("(a (b:1.5) c:2)", [("a ", 2.0), ("b", 3.0), (" c", 2.0)]),
        ("[x:1.5)", [("x:1.5)", round(1 / 1.1, 6))]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1.0), (" c", round(1 / 1.1, 6))]),
        ("(a)(b)", [("ab", 1.1)]),
    ],
)
def test_weights(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert weighed(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("(never closed", [("never closed", 1.1)]),
        ("a (b (c) d", [("a ", 1.0), ("b ", 1.1), ("c", 1.21), (" d", 1.1)]),
        ("never opened) here]", [("never opened) here]", 1.0)]),
        ("ratio:1.5) here", [("ratio:1.5) here", 1.0)]),
        ("(x:1e3)", [("x:1e3", 1.1)]),
        ("(x:)", [("x:", 1.1)]),
        (r"\(a\) \[b\] \\ \c", [(r"(a) [b] \ \c", 1.0)]),
        (r"(\)x)", [(")x", 1.1)]),
        ("a|b <b> <c", [("a|b <b> <c", 1.0)]),
        ("[a:b] [a|b", [("a:b", round(1 / 1.1, 6)), (" ", 1.0), ("a|b", round(1 / 1.1, 6))]),
        ("[(a|b)]", [("a|b", 1.0)]),
    ],
)
def test_what_looks_like_syntax_and_is_text(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert weighed(prompt) == expected


def test_break_stands_between_texts_without_the_whitespace_around_it() -> None:
    assert parse("a \n BREAK  b").fragments == (Fragment("a"), BREAK, Fragment("b"))
    assert parse("BREAK a BREAK BREAK").fragments == (BREAK, Fragment("a"), BREAK, BREAK)
    assert parse("(a BREAK b:1.2)").fragments == (Fragment("a", 1.2), BREAK, Fragment("b", 1.2))
    assert parse("BREAKFAST, break").fragments == (Fragment("BREAKFAST, break"),)


def test_loras_are_read_in_order_and_are_no_text() -> None:
    parsed = parse("a <lora:My Style v1.5:0.8>cat<lora:x><lora:f(2):-.5>, (y<lora: z : 1 >:1.2)")
    expected = (("My Style v1.5", 0.8), ("x", 1.0), ("f(2)", -0.5), ("z", 1.0))
    assert parsed.loras == tuple(LoraTag(*each) for each in expected)
    assert parsed.fragments == (Fragment("a cat, "), Fragment("y", 1.2))


@pytest.mark.parametrize(
    ("tag", "weight", "text_encoder_weight"),
    [
        ("<lora:x:0.8:0.7>", 0.7, 0.8),
        ("<lora:x:0.8:0.8>", 0.8, None),
        ("<lora:x:te=0.5:unet=0.7>", 0.7, 0.5),
        ("<lora:x: unet = .7 >", 0.7, 1.0),
        ("<lora:x:te=0.5>", 0.5, None),
        ("<lora:x:0.8:TE=0>", 0.0, None),
        ("<lora:x:0.8:0.7:te=0.2>", 0.7, 0.2),
        ("<lora:x:1:lbw=ALL>", 1.0, None),
        ("<lora:x:0.5:0.25:lbw=1,1, 1.0,1>", 0.25, 0.5),
        ("<lyco:x:0.8>", 0.8, None),
    ],
)
def test_a_tag_may_have_two_weights(tag: str, weight: float, text_encoder_weight: float | None) -> None:
    assert parse(f"a {tag}").loras == (LoraTag("x", weight, text_encoder_weight),)


def test_extracting_loras_leaves_the_rest_as_it_was() -> None:
    assert extract_loras(r"(a:1.2) \(b <lora:x:0.5>BREAK [c|d]") == (r"(a:1.2) \(b BREAK [c|d]", [LoraTag("x", 0.5)])


@pytest.mark.parametrize(
    "tag",
    [
        "<lora:x:heavy>", "<lora:x:nan>", "<lora:x:inf>", "<lora:x:1:2x>", "<lora:x:te=>", "<lora:x:>", "<lora::1>",
        "<lora:x:101>", "<lora:x:0.5", "<lora:x <lora:y>",
    ],
)  # fmt: skip
def test_a_bad_tag_is_refused_by_both(tag: str) -> None:
    for read in (parse, extract_loras):
        with pytest.raises(PromptError) as raised:
            read(f"a cat {tag}")
        assert raised.value.position == 6


@pytest.mark.parametrize(
    ("prompt", "position", "reason"),
    [
        ("a [b:c:0.5] d", 2, "editing"),
        ("[b:0.5]", 0, "editing"),
        ("[:b: 12 ]", 0, "editing"),
        ("(a:1.2) [(b:1.1):c:1e-1]", 8, "editing"),
        ("a [b|c]", 4, "alternating"),
        ("[(a|b) c | d]", 9, "alternating"),
        ("a <hypernet:b:1>", 2, "hypernet"),
        ("<lora:b:1:1:8>", 0, "two weights"),
        ("<lora:b:1:dyn=8>", 0, "dyn="),
        ("<lora:b:1:lbw=1,0.5,1>", 0, "lbw="),
    ],
)
def test_unsupported_syntax_is_named_with_its_place(prompt: str, position: int, reason: str) -> None:
    with pytest.raises(UnsupportedPromptSyntax, match=reason) as raised:
        parse(prompt)
    assert raised.value.position == position
    assert f"at character {position + 1}" in str(raised.value)


@pytest.mark.parametrize("prompt", ["(x:101)", "(x:-100.5)", "(x:1.2.3)", "(x:.)", "(" * 60 + "x", "((x:50):3)"])
def test_an_impossible_weight_is_refused(prompt: str) -> None:
    with pytest.raises(PromptError, match="weight") as raised:
        parse(prompt)
    assert isinstance(raised.value, ValueError) and isinstance(raised.value, PhotogramError)


@pytest.mark.parametrize(
    "unit",
    [
        "(", "[", ")", "()", "[(", "(a", "[a", ":", ": ", ":1", "|", "[|", "<", "<lora:", "\\", " ", "BREAK ",
        "(:" + "1" * 50, ":1 ]", "(a:1.01)",
    ],
)  # fmt: skip
def test_the_cost_of_hostile_prompts_grows_with_their_length(unit: str) -> None:
    def parse_s(chars: int) -> float:
        text = (unit * chars)[:chars]
        started = time.process_time()
        for _ in range(10_000 // chars):
            with suppress(PromptError):
                parse(text)
        return time.process_time() - started

    # The same number of characters in one long and in twenty short prompts: twenty times the time would be quadratic.
    long_s, short_s = (min(parse_s(chars) for _ in range(3)) for chars in (10_000, 500))
    assert long_s < 8 * short_s + 0.01


@pytest.mark.parametrize("odd", ["nan", "inf", "-inf", "1e9", "abc", "1_0", "0x1"])
def test_what_is_not_written_as_a_number_is_text(odd):
    assert parse(f"(cat:{odd})").fragments == (Fragment(f"cat:{odd}", 1.1),)
    assert compose(f"a AND b :{odd}").texts == ("a", f"b :{odd}")


@pytest.mark.parametrize("odd", ["999", "-100.1", "9" * 400])
def test_a_number_out_of_bounds_is_refused(odd):
    for read, prompt in ((parse, f"(cat:{odd})"), (compose, f"a AND b :{odd}")):
        with pytest.raises(PromptError, match="weights must be from -100 to 100"):
            read(prompt)

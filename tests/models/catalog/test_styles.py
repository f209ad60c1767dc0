"""Style presets: which there are, and what they do to prompts."""

from __future__ import annotations

from models.catalog.styles import STYLES, apply_style, find_style
from models.jobs.prompts import Fragment, parse

PRODIA_V1 = {
    "3d-model", "analog-film", "anime", "cinematic", "comic-book", "digital-art", "enhance", "fantasy-art", "isometric",
    "line-art", "low-poly", "neon-punk", "origami", "photographic", "pixel-art", "texture", "craft-clay",
}  # fmt: skip


def test_they_are_those_of_prodia_v1() -> None:
    assert set(STYLES) == PRODIA_V1
    assert all(find_style(name) is style and style.name == name for name, style in STYLES.items())


def test_the_misspelt_name_that_clients_send_is_found() -> None:
    assert find_style("fantasty-art") is STYLES["fantasy-art"]
    assert find_style("baroque") is None


def test_the_users_words_stay_whole_and_negative_ones_come_first() -> None:
    for style in STYLES.values():
        prompt, negative = apply_style(style, "a (red:1.2) cat", "blue")
        assert "a (red:1.2) cat" in prompt and prompt != "a (red:1.2) cat"
        assert negative == f"blue, {style.negative}"


def test_nothing_is_put_around_empty_texts() -> None:
    for style in STYLES.values():
        prompt, negative = apply_style(style, "", "")
        assert negative == style.negative
        assert not prompt.startswith((",", " ")) and prompt.endswith(style.suffix)


def test_their_words_are_plain_text_in_the_prompt_language() -> None:
    for style in STYLES.values():
        for text in apply_style(style, "cat", ""):
            assert parse(text).fragments == (Fragment(text),)


def test_no_two_are_alike() -> None:
    assert len({apply_style(style, "cat", "") for style in STYLES.values()}) == len(STYLES)

"""The check of words finds a word in every form in which it could come back, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from check_words import ALLOWED, REPLACED, found_in  # noqa: E402


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a picture", "picture"),
        ("Pictures of", "picture"),
        ("read_pictures(", "picture"),
        ("class PictureLoader", "picture"),
        ("PICTURE_FORMATS", "picture"),
        ("self._wish", "wish"),
        ("two wishes", "wish"),
        ("Shelf(device)", "Shelf"),
        ("rows = whose_turn(", "whose_turn"),
        ("slot: Slot", "Slot"),
    ],
)
def test_a_word_that_left_is_found(text: str, word: str) -> None:
    assert list(found_in(f"x = 1\n{text}\n", "models/x.py")) == [(2, word)]


@pytest.mark.parametrize(
    "text", ["picturesque", "CLIP_stop_at_last_layers", "ExtraMissing", "extra=forbid", "weight", "bookshelf"]
)
def test_other_words_are_not_found(text: str) -> None:
    assert list(found_in(text, "models/x.py")) == []


def test_a_file_may_use_what_it_is_allowed() -> None:
    path, (word, *_) = next(iter(ALLOWED.items()))
    assert word in REPLACED
    assert list(found_in(word, path)) == [] and list(found_in(word, "models/x.py")) == [(1, word)]


def test_the_tree_passes() -> None:
    found = subprocess.run([sys.executable, "scripts/check_words.py"], cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")

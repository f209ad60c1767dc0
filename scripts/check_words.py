"""Fail if a word that left the vocabulary is used again: ``python scripts/check_words.py``, part of ``make check``.

CONTRIBUTING.md has the glossary. A word here was private to this project; the field has another one for it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPLACED = {
    "picture": "image",
    "Shelf": "ModelCache",
    "wish": "request",
    "whose_turn": "select_batch",
    "served_s": "virtual_time_s",
    "worthwhile": "target_batch_size",
    "go_on": "prepare_latents, denoising_start",
    "stop_at": "denoising_end",
    "lay_out": "set_timesteps",
    "first_latents": "init_latents",
    "weigh": "set_adapters",
    "Wording": "PromptInputs",
    "misfit": "validate",
    "Extra": "AuxiliaryModel",
    "helper": "auxiliary model",
    "Slot": "HeldJob",
    "give_back": "requeue",
    "hand_back": "requeue",
    "Standing": "WorkerStatus",
    "set_aside": "defer",
    "has_company": "has_peers",
    "Desk": "EngineThread",
    "Asked": "RequestEcho",
    "Wanted": "ResponseFormat",
    "Chosen": "Options",
    "told_in_kind": "form_errors",
    "FAREWELL_S": "cancel_timeout_s",
    "patience_s": "max_retry_after_s",
}
"""The word that left, and what to write instead. Lower-case words are matched in any case and in the plural."""

ALLOWED: dict[str, tuple[str, ...]] = {
    "models/catalog/concepts.py": ("picture",),
    "models/agent/templates/": ("picture",),
    "models/agent/said.py": ("picture",),
    "models/language/profiles/": ("picture",),
    "service/api/assist/instructions.py": ("picture", "wish"),
    "service/api/assist/tools.py": ("picture",),
    "tests/models/language/tools/": ("picture",),
    "tests/service/api/assist/": ("picture",),
    "tests/llm/": ("picture",),
    "models/deploy/quantizing.py": ("helper",),
    "tests/models/diffusion/upscaling/tiny_detector.py": ("helper",),
    "tests/service/llm/test_guard.py": ("helper",),
    "tests/e2e/test_up.py": ("helper",),
}
"""Words that a file may still use, by the start of its path.

They stand in texts for language models, which are versioned, among the words of prompts, in imports of onnx, and in
the names of processes.
"""

_SUFFIXES = (".py", ".md", ".toml")
_EXEMPT = ("CHANGELOG.md", "scripts/check_words.py", "tests/scripts/")


def pattern(word: str) -> re.Pattern[str]:
    """Matches ``word`` as a name; a lower-case word also in the plural, in any case, and as a part of a longer name."""
    if not word.islower() or "_" in word:
        return re.compile(rf"(?<![A-Za-z_]){word}(?![a-z_])(?![A-Z])")
    lower = rf"(?<![A-Za-z]){word}(?:e?s)?(?![a-z])"
    camel = rf"(?<![A-Z]){word.capitalize()}(?:e?s)?(?![a-z])"
    upper = rf"(?<![A-Za-z]){word.upper()}(?:E?S)?(?![A-Z])"
    return re.compile(f"{lower}|{camel}|{upper}")


def found_in(text: str, path: str) -> Iterator[tuple[int, str]]:
    """Line number and word of every use of a word that left."""
    allowed = {word for start, words in ALLOWED.items() if path.startswith(start) for word in words}
    patterns = {word: pattern(word) for word in REPLACED if word not in allowed}
    for number, line in enumerate(text.splitlines(), 1):
        yield from ((number, word) for word, each in patterns.items() if each.search(line))


def main() -> int:
    """Print every use; gives the exit code."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.split()
    uses = 0
    for path in listed:
        if not path.endswith(_SUFFIXES) or path.startswith(_EXEMPT) or not Path(path).is_file():
            continue
        for number, word in found_in(Path(path).read_text(encoding="utf-8"), path):
            print(f"{path}:{number}: {word!r} left the vocabulary: write {REPLACED[word]}")
            uses += 1
    return 1 if uses else 0


if __name__ == "__main__":
    sys.exit(main())

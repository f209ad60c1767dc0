"""The token budget of prompts, counted with the tokenizer of the model's text encoder, without transformers."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from models.catalog.catalog import ModelSpec
from models.catalog.families import FLUX, PIXART_SIGMA, SDXL_REFINER
from models.jobs.prompts import Fragment, PromptError, parse

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger(__name__)

TOKENIZER, ESTIMATE = "tokenizer", "estimate"
SPECIAL_TOKENS = 2
"""The tokens that a text encoder adds at the beginning and the end."""
LENGTH_MAX = 256
"""The largest budget; T5 reads 512 tokens, but prompts of that length are not useful."""
CLIP_LENGTH = 77
"""CLIP's length, also assumed for a tokenizer without a configured length."""

_FOLDERS = {FLUX: ("tokenizer_2",), SDXL_REFINER: ("tokenizer_2",)}
"""The folder of the tokenizer that reads the prompt, for families with more than one text encoder."""
_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json")
_CLIP_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_PIECES = re.compile(r"[A-Za-z]+|[^\x00-\x7f]|[^A-Za-z\s]")
_LETTERS_PER_TOKEN = 4


class TokenBudget(Protocol):
    """The token budget of a prompt."""

    @property
    def limit(self) -> int:
        """Tokens that the model reads at once, without special tokens."""

    @property
    def counted(self) -> str:
        """``tokenizer``: counted by the model's own; ``estimate``: by a rule of thumb that tends to overestimate."""

    def count(self, text: str) -> int:
        """The number of tokens of a prompt, without weights, tags and ``BREAK``."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    limit: int
    counted: str
    count_plain: Callable[[str], int]
    """Counts the tokens of text without prompt syntax."""

    def count(self, text: str) -> int:
        """See :meth:`TokenBudget.count`; a prompt with a syntax error is counted as plain text."""
        try:
            fragments = parse(text).fragments
        except PromptError:
            return self.count_plain(text)
        return sum(self.count_plain(each.text) for each in fragments if isinstance(each, Fragment))


def budget_of(spec: ModelSpec) -> Budget:
    """The budget of ``spec``. Reads local files, including the hub's cache; downloads nothing.

    A model without a readable local tokenizer gets an estimate.
    """
    return budget_in(spec, _FOLDERS.get(spec.family, ("tokenizer", "tokenizer_2")))


def budget_in(spec: ModelSpec, folders: Sequence[str]) -> Budget:
    """As :func:`budget_of`, with the tokenizer in the first of ``folders`` that has one."""
    for folder in folders:
        files = {name: path for name in _FILES if (path := _find(spec, f"{folder}/{name}")) is not None}
        length = _length(files.get("tokenizer_config.json"))
        tokenizer = _open(files)
        if tokenizer is not None:
            return Budget(limit=length - SPECIAL_TOKENS, counted=TOKENIZER, count_plain=_counter(tokenizer))
    length = LENGTH_MAX if spec.family in (FLUX, PIXART_SIGMA) else CLIP_LENGTH
    return Budget(limit=length - SPECIAL_TOKENS, counted=ESTIMATE, count_plain=estimate)


def estimate(text: str) -> int:
    """An upper estimate of the tokens of ``text``: one for four letters of a word, one for each byte of other text."""
    return sum(
        -(-len(piece) // _LETTERS_PER_TOKEN) if piece.isascii() else len(piece.encode(errors="replace"))
        for piece in _PIECES.findall(text)
    )


def _counter(tokenizer: Tokenizer) -> Callable[[str], int]:
    def count(text: str) -> int:
        return len(tokenizer.encode(text.encode(errors="replace").decode(), add_special_tokens=False).ids)

    return count


def _find(spec: ModelSpec, name: str) -> Path | None:
    """The path of file ``name`` in the model's folder or in the hub's local cache."""
    folder = spec.folder or spec.config
    if folder is not None:
        return folder / name if (folder / name).is_file() else None
    return None if spec.repository is None else _find_cached(spec.repository, spec.revision, name)


def _find_cached(repository: str, revision: str | None, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(repository, name, revision=revision)
    except ValueError:  # not a valid repository name
        return None
    return Path(found) if isinstance(found, str) else None


def _length(config: Path | None) -> int:
    """The length of the text encoder in tokens, from the tokenizer's configuration."""
    try:
        length = json.loads(config.read_bytes()).get("model_max_length") if config is not None else None
    except (OSError, ValueError, AttributeError):
        length = None
    if not isinstance(length, int | float) or length <= SPECIAL_TOKENS:
        return CLIP_LENGTH
    return int(min(length, LENGTH_MAX))


def _open(files: dict[str, Path]) -> Tokenizer | None:
    """The tokenizer in these files; ``None`` if they are missing or unreadable."""
    try:
        if "tokenizer.json" in files:
            return _load(files["tokenizer.json"], None, _stamp(files["tokenizer.json"]))
        if "vocab.json" in files and "merges.txt" in files:
            return _load(files["vocab.json"], files["merges.txt"], _stamp(files["vocab.json"]))
    except Exception:  # the library raises plain Exception
        log.warning("the tokenizer in %s cannot be read; its tokens are estimated", *{p.parent for p in files.values()})
    return None


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns


@lru_cache(maxsize=16)
def _load(path: Path, merges: Path | None, stamp: int) -> Tokenizer:
    """Open a tokenizer; ``stamp``, the file's modification time, is part of the cache key."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path)) if merges is None else _clip(str(path), str(merges))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _clip(vocabulary: str, merges: str) -> Any:
    """CLIP's BPE tokenizer: lower case, single spaces, split at punctuation and digits, ``</w>`` after each word."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    bpe = models.BPE.from_file(
        vocabulary, merges, continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token="<|endoftext|>"
    )
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_CLIP_PIECES), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])  # fmt: skip
    return tokenizer

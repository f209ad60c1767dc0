"""How much text a model reads: tokens counted with its text encoder's own tokenizer, without its framework."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from models.catalog.catalog import ModelSpec
from models.catalog.families import FLUX, SDXL_REFINER
from models.jobs.prompts import Fragment, PromptError, parse

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger(__name__)

TOKENIZER, ESTIMATE = "tokenizer", "estimate"
SPECIAL_TOKENS = 2
"""Of what a text encoder reads, those at the beginning and the end."""
LENGTH_MAX = 256
"""T5 reads 512 tokens; a prompt that fills them helps nobody."""
CLIP_LENGTH = 77
"""What CLIP reads, and what a tokenizer is taken to read that does not say."""

_FOLDERS = {FLUX: ("tokenizer_2",), SDXL_REFINER: ("tokenizer_2",)}
"""Which tokenizer reads the prompt, by family; others read it with the first one."""
_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json")
_CLIP_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_PIECES = re.compile(r"[A-Za-z]+|[^\x00-\x7f]|[^A-Za-z\s]")
_LETTERS_PER_TOKEN = 4


class TokenBudget(Protocol):
    """What a prompt may take."""

    @property
    def limit(self) -> int:
        """Tokens that the model reads at once, the special ones not counted."""

    @property
    def counted(self) -> str:
        """``tokenizer``: by the model's own; ``estimate``: by a rule of thumb that rather counts too many."""

    def count(self, text: str) -> int:
        """How many tokens the text of a prompt takes; weights, tags and ``BREAK`` are no text."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget of one model."""

    limit: int
    counted: str
    count_plain: Callable[[str], int]
    """Tokens of text that has no syntax."""

    def count(self, text: str) -> int:
        """As :meth:`TokenBudget.count`; a prompt that cannot be read is counted as it stands."""
        try:
            fragments = parse(text).fragments
        except PromptError:
            return self.count_plain(text)
        return sum(self.count_plain(each.text) for each in fragments if isinstance(each, Fragment))


def budget_of(spec: ModelSpec) -> Budget:
    """The budget of ``spec``. Reads files, of a hub repository those in the local cache; nothing is downloaded.

    A model whose tokenizer is not at hand, or cannot be read, gets an estimate.
    """
    for folder in _FOLDERS.get(spec.family, ("tokenizer", "tokenizer_2")):
        files = {name: path for name in _FILES if (path := _find(spec, f"{folder}/{name}")) is not None}
        length = _length(files.get("tokenizer_config.json"))
        tokenizer = _open(files)
        if tokenizer is not None:
            return Budget(limit=length - SPECIAL_TOKENS, counted=TOKENIZER, count_plain=_counter(tokenizer))
    length = LENGTH_MAX if spec.family == FLUX else CLIP_LENGTH
    return Budget(limit=length - SPECIAL_TOKENS, counted=ESTIMATE, count_plain=estimate)


def estimate(text: str) -> int:
    """Roughly the tokens of ``text``, rather too many: words by their letters, anything else by its bytes."""
    return sum(
        -(-len(piece) // _LETTERS_PER_TOKEN) if piece.isascii() else len(piece.encode(errors="replace"))
        for piece in _PIECES.findall(text)
    )


def _counter(tokenizer: Tokenizer) -> Callable[[str], int]:
    def count(text: str) -> int:
        return len(tokenizer.encode(text.encode(errors="replace").decode(), add_special_tokens=False).ids)

    return count


def _find(spec: ModelSpec, name: str) -> Path | None:
    """The file of that name in the model's folder, or in the hub's local cache."""
    folder = spec.folder or spec.config
    if folder is not None:
        return folder / name if (folder / name).is_file() else None
    return None if spec.repository is None else _find_cached(spec.repository, spec.revision, name)


def _find_cached(repository: str, revision: str | None, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(repository, name, revision=revision)
    except ValueError:  # no name that a repository can have
        return None
    return Path(found) if isinstance(found, str) else None


def _length(config: Path | None) -> int:
    """What the tokenizer's text encoder reads, in tokens, as far as its configuration tells."""
    try:
        length = json.loads(config.read_bytes()).get("model_max_length") if config is not None else None
    except (OSError, ValueError, AttributeError):
        length = None
    if not isinstance(length, int | float) or length <= SPECIAL_TOKENS:
        return CLIP_LENGTH
    return int(min(length, LENGTH_MAX))


def _open(files: dict[str, Path]) -> Tokenizer | None:
    """The tokenizer in these files; ``None`` if there is none, or one that cannot be read."""
    try:
        if "tokenizer.json" in files:
            return _load(files["tokenizer.json"], None, _stamp(files["tokenizer.json"]))
        if "vocab.json" in files and "merges.txt" in files:
            return _load(files["vocab.json"], files["merges.txt"], _stamp(files["vocab.json"]))
    except Exception:  # the library raises nothing narrower
        log.warning("the tokenizer in %s cannot be read; its tokens are estimated", *{p.parent for p in files.values()})
    return None


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns


@lru_cache(maxsize=16)
def _load(path: Path, merges: Path | None, stamp: int) -> Tokenizer:
    """Open a tokenizer; ``stamp`` is the file's age, so that a changed one is opened anew."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path)) if merges is None else _clip(str(path), str(merges))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _clip(vocabulary: str, merges: str) -> Any:
    """CLIP's byte pairs: lower case, single spaces, words cut at punctuation and digits, ``</w>`` after each."""
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

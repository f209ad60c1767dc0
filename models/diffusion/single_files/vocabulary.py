"""The vocabulary of CLIP's tokenizer, which single files lack and every model of Stable Diffusion and SDXL shares.

``clip_merges.txt.gz`` has the 48,894 merges of byte pairs that CLIP uses, of the vocabulary that OpenAI published with
it (https://github.com/openai/CLIP, MIT licence); it is taken from the wheel of open_clip_torch 3.3.0 (MIT licence). All
ids follow from their order: first the bytes, then the bytes at the end of a word, then the merges, then two special
tokens.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

_MERGES = Path(__file__).with_name("clip_merges.txt.gz")
_END_OF_WORD = "</w>"
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")
_PRINTED = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1))
"""The bytes that are written as the character of the same number; the others as characters from 256."""


def write_vocabulary(folder: Path) -> None:
    """Write ``vocab.json`` and ``merges.txt``, which tokenizers of transformers read."""
    (folder / "vocab.json").write_text(json.dumps(vocabulary()), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(("#version: 0.2", *_merges(), "")), encoding="utf-8")


@cache
def vocabulary() -> dict[str, int]:
    """The 49,408 tokens and their ids."""
    bytes_ = [*map(chr, _PRINTED), *(chr(256 + number) for number in range(256 - len(_PRINTED)))]
    ends = [byte + _END_OF_WORD for byte in bytes_]
    merged = [merge.replace(" ", "") for merge in _merges()]
    return {token: number for number, token in enumerate((*bytes_, *ends, *merged, *_SPECIAL))}


@cache
def _merges() -> tuple[str, ...]:
    return tuple(gzip.decompress(_MERGES.read_bytes()).decode().splitlines())

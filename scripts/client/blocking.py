"""The blocking modules of the client, made from the asyncio ones by leaving out what only asyncio needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

PREFIX = "_async_"
HANDWRITTEN = ("_async_waiting.py",)
"""Modules whose blocking counterpart is not generated."""

_RULES = (
    (r"_async_(?=[a-z])", "_"),
    (r"\bAsync(?=Photogram|Performer|Job|GeneratedImage|Kind|Keys|Webhooks)", ""),
    (r"httpx2\.AsyncClient", "httpx2.Client"),
    (r"AsyncGenerator\[(.+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsyncGenerator\b", "Generator"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\basync (?=def|for|with)", ""),
    (r"\(await ([\w.]+\((?:[^()]|\([^()]*\))*\))\)\.", r"\1."),
    (r"\bawait ", ""),
    (r"\baclosing\b", "closing"),
    (r"\b__a(enter|exit|iter)__", r"__\1__"),
    (r"\ba(close|read|iter_bytes)\(", r"\1("),
)


def blocking(text: str) -> str:
    """The source of a blocking module, from that of an asyncio module."""
    for pattern, replacement in _RULES:
        text = re.sub(pattern, replacement, text)
    return text


def blocking_modules(folder: Path, changed: Mapping[Path, str]) -> dict[Path, str]:
    """The blocking modules of the package in ``folder``, by their paths; ``changed`` are texts not yet on the disk."""
    paths = {*folder.glob(f"{PREFIX}*.py"), *changed}
    texts = {path: changed.get(path) or path.read_text(encoding="utf-8") for path in paths}
    return {
        folder / path.name.replace(PREFIX, "_"): blocking(text)
        for path, text in sorted(texts.items())
        if path.name not in HANDWRITTEN
    }

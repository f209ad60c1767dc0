"""Snapshots: what is drawn of a row so far, or of all rows of a job, as bytes: another engine goes on there.

A snapshot holds the outcomes of the pieces of work that are complete, and the state of the one in progress. The engine
that goes on runs the row's plan from its beginning, which loads models, encodes prompts and draws the first noise
again, but takes each outcome from the snapshot, and sets the piece of work in progress to its state.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeAlias

import torch
from PIL import Image

from models.diffusion.work import Resumable, Saved, Work

log = logging.getLogger(__name__)

MAX_BYTES = 64 << 20
"""Rows whose snapshot would be larger begin again instead."""
_FORMAT = 1


@dataclass(frozen=True)
class Snapshot:
    """What an engine had drawn of a row."""

    outcomes: Sequence[object]
    """The outcome of each complete piece of work, an image or a tensor on the CPU."""
    work: Saved | None
    """The state of the piece of work in progress, if it has one."""


def save(outcomes: Sequence[object], piece: Work[object] | None) -> bytes | None:
    """The snapshot of a row; ``None`` if nothing is drawn, or what is drawn cannot be saved.

    Args:
        outcomes: those of the complete pieces of work; only images and tensors can be saved.
        piece: the piece of work in progress, if there is one.
    """
    work = piece.save() if isinstance(piece, Resumable) and piece.step else None
    packed = [_packed(outcome) for outcome in outcomes]
    if (work is None and not packed) or any(each is None for each in packed):
        return None
    buffer = BytesIO()
    torch.save({"format": _FORMAT, "outcomes": packed, "work": work}, buffer)
    return buffer.getvalue() if buffer.tell() <= MAX_BYTES else None


def read(data: bytes) -> Snapshot | None:
    """The snapshot in ``data``; ``None``, and a line in the log, if it cannot be read: the row begins again then."""
    try:
        content = _loaded(data)
        return Snapshot([_unpacked(outcome) for outcome in content["outcomes"]], content["work"])
    except Exception as error:  # torch and its unpickler raise many types
        log.warning("a snapshot cannot be read, so its job begins again: %s", error)
        return None


RowState: TypeAlias = Image.Image | bytes | None
"""What is drawn of one of several rows: its image, its snapshot, or nothing that could be saved."""


def save_rows(rows: Sequence[RowState]) -> bytes | None:
    """The snapshot of all rows of one job; ``None`` if nothing is drawn, or too much."""
    if all(each is None for each in rows):
        return None
    buffer = BytesIO()
    torch.save(
        {"format": _FORMAT, "rows": [each if isinstance(each, bytes) else _packed(each) for each in rows]}, buffer
    )
    return buffer.getvalue() if buffer.tell() <= MAX_BYTES else None


def read_rows(data: bytes, count: int) -> list[RowState]:
    """The ``count`` rows in ``data``, a snapshot of :func:`save_rows`; nothing of each if it cannot be read."""
    try:
        rows = _loaded(data)["rows"]
        if len(rows) != count:
            raise ValueError(f"it has {len(rows)} rows, and the job {count}")
        return [each if isinstance(each, bytes | None) else _image(each) for each in rows]
    except Exception as error:  # torch and its unpickler raise many types
        log.warning("a snapshot cannot be read, so its job begins again: %s", error)
        return [None] * count


def _loaded(data: bytes) -> Mapping[str, Any]:
    content: Mapping[str, Any] = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    if content["format"] != _FORMAT:
        raise ValueError(f"its format is {content['format']!r}, and this version reads {_FORMAT}")
    return content


def _packed(outcome: object) -> object:
    """``outcome`` as what ``torch.load`` reads without running code; ``None`` if it is of another type."""
    match outcome:
        case torch.Tensor():
            return outcome.to("cpu", copy=True)
        case Image.Image():
            return {"mode": outcome.mode, "size": list(outcome.size), "pixels": outcome.tobytes()}
        case _:
            return None


def _unpacked(outcome: Any) -> object:
    return outcome if isinstance(outcome, torch.Tensor) else _image(outcome)


def _image(packed: Any) -> Image.Image:
    return Image.frombytes(packed["mode"], tuple(packed["size"]), packed["pixels"])

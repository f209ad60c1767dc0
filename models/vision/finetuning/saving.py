"""Writes a finetuned model into a folder in timm's layout, which appears under its name only when it is complete."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from models.downloads.space import DISK_PROBLEMS, in_words, nearest_folder
from models.errors import FinetuneError
from models.vision.model import VisionModel
from models.vision.timm_import import import_timm

CARD, REPORT = "card.json", "report.html"
_BESIDE_BYTES = 8_000_000
"""At most so much do the report and the card take."""


def require_space(model: VisionModel, place: Path) -> None:
    """Raise :class:`FinetuneError` if the weights would not fit on the disk of ``place``."""
    needed = sum(each.numel() * each.element_size() for each in model.module.state_dict().values()) + _BESIDE_BYTES
    existing = nearest_folder(place)
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise FinetuneError(f"the model needs {in_words(needed)}, and only {in_words(free)} are free at {existing}")


@contextmanager
def complete_folder(place: Path) -> Iterator[Path]:
    """A folder to write into, which becomes ``place``, instead of what is there, unless the block raises.

    Raises:
        FinetuneError: it cannot be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as made:
            written, replaced = Path(made) / "new", Path(made) / "old"
            written.mkdir()
            yield written
            if place.exists():
                os.rename(place, replaced)
            os.rename(written, place)
    except OSError as error:
        reason = DISK_PROBLEMS.get(error.errno or 0, str(error))
        raise FinetuneError(f"the model cannot be written to {place}: {reason}") from error


def write_model(model: VisionModel, labels: tuple[str, ...], folder: Path) -> None:
    """The weights and the configuration, as timm saves and loads them.

    Raises:
        FinetuneError: they cannot be written.
        OSError: likewise.
    """
    try:
        import_timm().models.save_for_hf(
            model.module, str(folder), model_config={"label_names": list(labels)}, safe_serialization=True
        )
    except (OSError, FinetuneError):
        raise
    except Exception as error:  # safetensors has an error of its own for a full disk
        raise FinetuneError(f"the weights cannot be written: {error}") from error


def write_card(card: Mapping[str, object], folder: Path) -> None:
    """What the model is, what it was trained on, and how good it is."""
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files may be no UTF-8

"""The GPUs that the workers of this machine may use, counted without torch, and which worker gets which.

The rules of ``CUDA_VISIBLE_DEVICES`` are those of the CUDA C++ Programming Guide, section "CUDA Environment Variables".
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"
DRIVER_FOLDER = Path("/proc/driver/nvidia/gpus")
LISTING_S = 10.0
"""How long ``nvidia-smi -L`` may take; it waits for a driver that does not answer."""
_LISTED = re.compile(r"^(?P<kind>GPU|\s+MIG) .*\(UUID: (?P<uuid>(GPU|MIG)-[^)]+)\)", re.MULTILINE)
_IN_DRIVER_FOLDER = re.compile(r"^GPU UUID:\s*(GPU-[0-9a-f-]+)\s*$", re.MULTILINE)
_UUID = re.compile(r"(GPU|MIG)-.+")


@dataclass(frozen=True)
class _Card:
    uuid: str
    instances: tuple[str, ...] = ()
    """The UUIDs of its MIG instances, the parts into which it may be divided; then it cannot be used as a whole."""


@dataclass(frozen=True)
class Place:
    """Where one worker computes."""

    gpu: str | None
    """The name of its GPU in ``CUDA_VISIBLE_DEVICES``; ``None`` leaves the choice to the worker's settings."""
    workers: int
    """How many workers are in the same place, this one included."""

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that put a worker there: it sees no other GPU."""
        chosen = {} if self.gpu is None else {VARIABLE: self.gpu}
        return {"PHOTOGRAM_DEVICE_WORKERS": str(self.workers), **chosen}


def spread(workers: int, gpus: Sequence[str]) -> list[Place]:
    """Places for ``workers``, in turn on each of ``gpus``; all in one place if there are none."""
    names = [gpus[number % len(gpus)] if gpus else None for number in range(workers)]
    counts = Counter(names)
    return [Place(name, counts[name]) for name in names]


def visible_gpus(environment: Mapping[str, str], driver_folder: Path = DRIVER_FOLDER) -> tuple[str, ...]:
    """The names of the GPUs that processes with ``environment`` may use; each is a value for ``CUDA_VISIBLE_DEVICES``.

    If ``CUDA_VISIBLE_DEVICES`` is set, it names them. Otherwise they are those that ``nvidia-smi`` lists or, where it
    is missing or fails, those in ``driver_folder``. Each MIG instance counts as a GPU, because CUDA shows a process
    one instance only. GPUs of other makers are not counted.
    """
    cards = _listed_cards(environment) or list(_cards_in(driver_folder))
    chosen = environment.get(VARIABLE)
    if chosen is None:
        return tuple(name for card in cards for name in card.instances or (card.uuid,))
    return _chosen(chosen, len(cards))


def _listed_cards(environment: Mapping[str, str]) -> list[_Card]:
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, "-L"], env=dict(environment), capture_output=True, text=True, timeout=LISTING_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return _read_listing(done.stdout)


def _read_listing(text: str) -> list[_Card]:
    """The cards in the output of ``nvidia-smi -L``; the lines of MIG instances follow that of their card."""
    cards: list[_Card] = []
    for line in _LISTED.finditer(text):
        if line["kind"] == "GPU":
            cards.append(_Card(line["uuid"]))
        elif cards:
            cards[-1] = _Card(cards[-1].uuid, (*cards[-1].instances, line["uuid"]))
    return cards


def _cards_in(driver_folder: Path) -> Iterator[_Card]:
    """The cards that the driver's files name, in the order of their places on the bus."""
    for path in sorted(driver_folder.glob("*/information")):
        found = _IN_DRIVER_FOLDER.search(path.read_text(encoding="utf-8", errors="replace"))
        if found is not None:
            yield _Card(found[1])


def _chosen(value: str, cards: int) -> tuple[str, ...]:
    """The devices in a value of ``CUDA_VISIBLE_DEVICES``, up to the first one that is not valid, as CUDA reads it.

    Args:
        cards: the number of cards, which indices must be below; 0 if it is not known.
    """
    names: list[str] = []
    for part in value.split(","):
        name = part.strip()
        if name in names:
            return ()  # CUDA shows no device if one is named twice
        kind = _kind(name, cards)
        if kind is None or (names and kind != _kind(names[0], cards)):
            break
        names.append(name)
    return tuple(names)


def _kind(name: str, cards: int) -> str | None:
    """``GPU`` or ``MIG`` for a UUID, which may be shortened, ``index`` for a number; ``None`` if it is not valid."""
    uuid = _UUID.fullmatch(name)
    if uuid is not None:
        return uuid[1]
    return "index" if name.isascii() and name.isdecimal() and (not cards or int(name) < cards) else None

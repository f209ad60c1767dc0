"""The texts in a pickle of torch, read without unpickling it: a pickle can run code, and its opcodes alone cannot."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

_BYTES_MAX = 8_000_000
"""The pickle beside the weights has names and shapes alone; a larger one is read as far as this."""
_TEXTS_MAX = 100_000


def names_in_pickle(file: Path) -> tuple[str, ...]:
    """The texts in a ``.pth`` file, among them the names of its tensors; those before the place where it is broken.

    torch writes a zip archive with a ``data.pkl``; versions before 1.6 wrote pickles one behind another.
    """
    try:
        if not zipfile.is_zipfile(file):
            with file.open("rb") as opened:
                return tuple(islice(_texts(opened), _TEXTS_MAX))
        with zipfile.ZipFile(file) as archive:
            member = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
            if member is None:
                return ()
            with archive.open(member) as opened:
                return tuple(islice(_texts(opened), _TEXTS_MAX))
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError):  # the last two: encrypted, or compressed
        return ()


def _texts(opened: IO[bytes]) -> Iterator[str]:
    """The texts of all pickles from here on, until something else follows."""
    read = 0
    while read < _BYTES_MAX:
        try:
            for _, argument, position in pickletools.genops(opened):
                read = max(read, position or 0)
                if isinstance(argument, str):
                    yield argument
                if read >= _BYTES_MAX:
                    return
        except Exception:  # pickletools raises whatever its readers of arguments raise
            return

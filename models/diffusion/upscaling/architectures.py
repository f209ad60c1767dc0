"""Imports spandrel, the library of upscaler architectures, also where torchvision is not installed.

Photogram does not require torchvision, because its wheel on PyPI is built for CUDA. But spandrel imports all of its 42
architectures at once, and two of them import torchvision. No job needs these two. So where torchvision is missing,
placeholders that recognise no weights stand in ``sys.modules`` for these two architectures while spandrel is imported.
There is never a placeholder for torchvision itself, since transformers checks whether it is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

_NEED_TORCHVISION = ("LaMa", "RestoreFormer")
_lock = threading.Lock()


def import_spandrel() -> Any:
    """Import spandrel; may be called from any thread.

    Raises:
        ImportError: spandrel, or a requirement of it other than torchvision, is not installed.
    """
    with _lock:
        if "spandrel" in sys.modules or importlib.util.find_spec("torchvision") is not None:
            return importlib.import_module("spandrel")
        with _placeholders(_NEED_TORCHVISION):
            return importlib.import_module("spandrel")


@contextmanager
def _placeholders(names: tuple[str, ...]) -> Iterator[None]:
    placeholders = {f"spandrel.architectures.{name}": _placeholder(name) for name in names}
    sys.modules.update(placeholders)
    try:
        yield
    finally:
        for name in placeholders:
            del sys.modules[name]


@dataclass(frozen=True)
class _PlaceholderArch:
    """The interface that spandrel's registry needs; it recognises no weights."""

    id: str

    def detect(self, state_dict: dict[str, Any]) -> bool:
        return False


def _placeholder(name: str) -> ModuleType:
    module = ModuleType(f"spandrel.architectures.{name}")
    setattr(module, f"{name}Arch", partial(_PlaceholderArch, name))
    return module

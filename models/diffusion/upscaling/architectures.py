"""The one place that imports spandrel, which knows the architectures of upscalers, with or without torchvision.

Two of spandrel's 42 architectures import torchvision, and spandrel imports all of them at once: without torchvision
it could not be imported at all. Photogram does not require torchvision, whose wheel on PyPI is built for CUDA. So where
torchvision is missing, those two architectures, which no job needs, are left out: while spandrel is imported, stand-ins
that recognise no weights take their places in ``sys.modules``. No module named torchvision is ever made up, so
transformers, which looks for it, is told the truth at any moment.
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
    """The module ``spandrel``, imported on the first call; any thread may call.

    Raises:
        ImportError: spandrel, or something that it needs beside torchvision, is not installed.
    """
    with _lock:
        if "spandrel" in sys.modules or importlib.util.find_spec("torchvision") is not None:
            return importlib.import_module("spandrel")
        with _left_out(_NEED_TORCHVISION):
            return importlib.import_module("spandrel")


@contextmanager
def _left_out(names: tuple[str, ...]) -> Iterator[None]:
    stand_ins = {f"spandrel.architectures.{name}": _stand_in(name) for name in names}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


@dataclass(frozen=True)
class _LeftOut:
    """What spandrel's registry needs of an architecture; it recognises no weights."""

    id: str

    def detect(self, state_dict: dict[str, Any]) -> bool:
        return False


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(f"spandrel.architectures.{name}")
    setattr(module, f"{name}Arch", partial(_LeftOut, name))
    return module

"""Imports timm, also beside a torch for which the installed torchvision was not built.

timm imports torchvision for its transforms, which are plain Python. torchvision's wheel on PyPI is built for the torch
of CUDA; beside torch for CPUs its library of operators cannot be loaded, and its import fails where it registers what
these operators do on the device ``meta`` (``torchvision/_meta_registrations.py``). Where the library cannot be loaded,
the operators are declared without implementations: nothing here runs them.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import threading
from pathlib import Path
from typing import Any

import torch

_OPERATORS = (
    "nms", "qnms", "roi_align", "_roi_align_backward", "ps_roi_align", "_ps_roi_align_backward", "roi_pool",
    "_roi_pool_backward", "ps_roi_pool", "_ps_roi_pool_backward", "qroi_align", "deform_conv2d",
    "_deform_conv2d_backward",
)  # fmt: skip
"""The operators that torchvision 0.28 registers more about in its import."""
_declared: list[torch.library.Library] = []
"""Keeps the declarations: torch drops them with the object."""
_lock = threading.Lock()


def import_timm() -> Any:
    """Import timm and the torchvision that it needs; may be called from any thread.

    Raises:
        ImportError: timm or torchvision is not installed.
    """
    with _lock:
        if sys.modules.get("torchvision") is None:
            sys.modules.pop("torchvision", None)  # models/__init__.py has kept it out
            _declare_missing_operators()
        return importlib.import_module("timm")


def _declare_missing_operators() -> None:
    spec = importlib.machinery.PathFinder.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ImportError("timm needs the Python package torchvision")
    try:
        torch.ops.load_library(str(Path(spec.origin).parent / "_C.so"))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for name in _OPERATORS:
            library.define(f"{name}(Tensor input) -> Tensor")
        _declared.append(library)

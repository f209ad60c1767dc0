"""AOTInductor: each part compiled by torch and the C++ compiler to a library of this processor."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from torch._inductor import config
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.utils import fresh_cache

from models.deploy.exporting import Exported, Unexportable

_CHECKED_BY_RECORDED_CALLS = {"aot_inductor.check_lowerbound": False}
"""torch.export assumes that an open axis has 2 or more; its code serves 1 as well, and recorded calls prove that."""


def build(exported: Exported, family: str, precision: str, folder: Path) -> str:
    """Compile a part.

    Raises:
        Unexportable: Inductor or the compiler cannot compile the part.
    """
    name = exported.part.name
    file = folder / f"{name}.pt2"
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        fresh_cache(),
        config.patch(_CHECKED_BY_RECORDED_CALLS),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            torch._inductor.aoti_compile_and_package(exported.program, package_path=str(file))
        except Exception as error:  # Inductor raises whatever its passes and the compiler raise
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise Unexportable(
                f"{name} ({type(exported.part.module).__name__}) cannot be compiled by AOTInductor: {lines[0][:300]}; "
                "deploy it to openvino or onnxruntime instead"
            ) from error
    return file.name


def compiler_problem(precision: str) -> str | None:
    """Why nothing can be compiled here; ``None`` if it can."""
    try:
        found: Any = get_cpp_compiler()
    except Exception:  # torch raises InvalidCxxCompiler, which it does not export
        found = None
    if not found or shutil.which(found) is None:
        return "there is no C++ compiler; install g++ (apt install g++), or name one in the variable CXX"
    return None

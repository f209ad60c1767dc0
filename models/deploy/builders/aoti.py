"""AOTInductor: each part as C++ that torch writes and this machine compiles; torch loads and runs the result."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import torch
import torch._inductor.utils
from photogram_runtime.package import instructions as of_this_processor

from models.deploy.exporting import Exported, exporting, trace
from models.deploy.parts import TEXT_ENCODERS
from models.deploy.weights_of_8_bits import DTYPES, in_8_bits

_SETTINGS: dict[str, Any] = {
    "aot_inductor.compile_wrapper_opt_level": "O0",  # of the code that only calls kernels; O1 takes twice as long
    "aot_inductor.enable_line_tables": False,
    "aot_inductor.precompile_headers": False,  # each part has a cache of its own, so that no other would use them
    "cpp.dynamic_threads": True,  # as many as torch has where the graph runs, and not where it was compiled
    "cpp.march": "",  # no instructions but those that `instructions` names
}


def build(exported: Exported, family: str, precision: str, folder: Path) -> str:
    """Compile a part; all that the compiler writes besides is removed.

    With weights of 8 bits the part is traced once more. Text encoders stay as they are, for the reason that OpenVINO's
    have.

    Raises:
        Unexportable: the part cannot be traced with such weights.
        Exception: whatever torch raises, also if the compiler fails.
    """
    part, program = exported.part, exported.program
    if precision in DTYPES and part.name not in TEXT_ENCODERS:
        with in_8_bits(part.module, DTYPES[precision]):
            program = trace(part, exported.calls, family, "aoti", exported.scratch).program
    file = folder / f"{part.name}.pt2"
    with exporting(part.module, family, "aoti"), torch._inductor.utils.fresh_cache():
        torch._inductor.aoti_compile_and_package(program, package_path=str(file), inductor_configs=_SETTINGS)
    return file.name


def instructions() -> list[str]:
    """The instruction sets that graphs compiled here need, as ``photogram_runtime`` names those of processors."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return sorted(of_this_processor())
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    return sorted(each.replace("-", "") for each in re.findall(r"-m(\S+)", pick_vec_isa().build_arch_flags()))

"""The program that runs one cell of Python: started by its path, with its order on standard input.

It has the walls of the server that starts it, and takes on narrower ones. It imports nothing of the package by name,
because the folder that the package lies in is not visible here.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import ModuleType

NAME = "<cell>"


def main() -> int:
    """Run the code of the order, which also has the limits ``memory_bytes`` and ``cpu_s``; the exit code."""
    order = json.loads(sys.stdin.buffer.read())
    sys.dont_write_bytecode = True
    for limit, value in ((resource.RLIMIT_AS, order["memory_bytes"]), (resource.RLIMIT_CPU, order["cpu_s"])):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    with suppress(OSError):  # no filter here; the report of the walls says so
        _module("seccomp").refuse_signals(_module("kernel"))
    return _run(order["code"])


def _run(code: str) -> int:
    try:
        exec(compile(code, NAME, "exec"), {"__name__": "__main__"})
    except SystemExit as error:
        return 0 if error.code is None else 1
    except BaseException as error:  # whatever the code raises is its own
        sys.stdout.flush()
        print(f"{type(error).__name__}: {error}{_place(error)}", file=sys.stderr)
        return 1
    return 0


def _place(error: BaseException) -> str:
    """The line of the cell that raised ``error``."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == NAME]
    if isinstance(error, SyntaxError) and error.filename == NAME:
        return ""
    return f" (line {lines[-1]})" if lines else ""


def _module(name: str) -> ModuleType:
    """A module that lies beside this program."""
    spec = importlib.util.spec_from_file_location(f"_tool_server_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())

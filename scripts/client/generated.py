"""All generated modules of the client, formatted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scripts.client.blocking import blocking_modules
from scripts.client.parameters import kinds_module, params_module, table_module

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "clients/python/src"
PACKAGE = SOURCE / "photogram"


def generated_modules() -> dict[Path, str]:
    """The text of each generated module by its path.

    The blocking modules follow from the asyncio modules on the disk, of which one is itself generated.
    """
    kinds = PACKAGE / "_async_kinds.py"
    texts = {
        PACKAGE / "_params.py": params_module(),
        kinds: kinds_module(),
        SOURCE / "photogram_cli/parameters.py": table_module(),
    }
    formatted = {path: _formatted(text, path) for path, text in texts.items()}
    for path, text in blocking_modules(PACKAGE, {kinds: formatted[kinds]}).items():
        formatted[path] = _formatted(text, path)
    return formatted


def _formatted(text: str, path: Path) -> str:
    for command in (["check", "--fix", "--unsafe-fixes", "--select", "I,F401,UP028"], ["format"]):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--quiet", "--stdin-filename", str(path), "-"],
            input=text, capture_output=True, text=True, check=True, cwd=ROOT,
        ).stdout  # fmt: skip
    return text

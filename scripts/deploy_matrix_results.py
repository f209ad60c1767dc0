"""The file of the matrix of deployments: one text for each model and target, with what it was made by."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_CODE = ("models", "clients/runtime/src", "tests/tiny", "scripts/deploy_matrix.py")
"""What decides about the cells."""
_CHANGED = "+"
VERSIONS = ("torch", "diffusers", "transformers", "timm", "onnxscript", "nncf", "openvino", "onnxruntime")


class Results:
    """All cells that were ever filled; each change is on the disk at once.

    Args:
        file: JSON; it need not exist.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._cells: dict[str, dict[str, dict[str, Any]]] = (
            json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        )
        versions = {name: found for name in VERSIONS if (found := _version(name)) is not None}
        self._made_by: dict[str, Any] = {"commit": commit(), "versions": versions}

    def text(self, model: str, target: str) -> str:
        """What came of deploying ``model`` to ``target``."""
        return str(self._cells.get(model, {}).get(target, {}).get("text", "not run"))

    def put(self, model: str, target: str, text: str) -> None:
        """Fill a cell."""
        self._cells.setdefault(model, {})[target] = {"text": text, **self._made_by}
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(self._cells, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(partial, self._file)

    def is_current(self, model: str, target: str) -> bool:
        """Whether a cell was filled by the code of this commit, with the versions that are installed here."""
        found = self._cells.get(model, {}).get(target, {})
        is_committed = not self._made_by["commit"].endswith(_CHANGED)
        return is_committed and all(found.get(name) == value for name, value in self._made_by.items())

    def versions(self) -> list[str]:
        """The names and versions of all libraries that any cell was made with."""
        found = {
            f"{name} {number}"
            for cells in self._cells.values() for cell in cells.values() for name, number in cell["versions"].items()
        }  # fmt: skip
        return sorted(found)


def commit() -> str:
    """The last commit that changed what decides about the cells; with a mark, if something is not committed."""
    last = _git("log", "-1", "--format=%h", "--", *_CODE)
    return f"{last}{_CHANGED}" if _git("status", "--porcelain", "--", *_CODE) else last


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

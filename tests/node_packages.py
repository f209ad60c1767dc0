"""Packages of the npm registry for tests, installed once and kept between runs."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

KEPT = Path(__file__).parents[1] / "build" / "node"
INSTALL_S = 120
UNREACHABLE = ("ENOTFOUND", "ECONNREFUSED", "ECONNRESET", "EAI_AGAIN", "ETIMEDOUT")


def installed(packages: Path) -> Path:
    """``node_modules`` with what ``package-lock.json`` in ``packages`` names; skips where it cannot be had."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("needs node and npm")
    lock = (packages / "package-lock.json").read_bytes()
    kept = KEPT / hashlib.sha256(lock).hexdigest()[:16]
    if not kept.is_dir():
        _install(packages, kept)
    return kept / "node_modules"


def _install(packages: Path, kept: Path) -> None:
    """Install into a folder of another name first, so that ``kept`` is whole whenever it is there."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as partial:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(packages / name, partial)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=partial, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if any(sign in done.stderr for sign in UNREACHABLE):
            pytest.skip("needs a package registry that can be reached")
        assert done.returncode == 0, done.stderr
        if not kept.exists():
            shutil.copytree(partial, kept, symlinks=True)

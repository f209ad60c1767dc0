"""Making packages: the parts of a recorded model are traced once, and each target is built, checked and measured.

All targets of one run are measured in turns beside torch, so that their speeds can be compared, and published at its
end. A target that cannot be made leaves the others alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from photogram_runtime.errors import PackageError
from photogram_runtime.package import Package, is_recipe, read_package, write_manifest

from models.deploy.backends import check_target
from models.deploy.packaging import Subject, Target, Tell, export_parts, manifest_of
from models.deploy.parts import ModelPart
from models.deploy.recording import Call
from models.deploy.store import PackageStore
from models.deploy.traces import Traces
from models.diffusion.failures import summary
from models.errors import PhotogramError

Failure: TypeAlias = PhotogramError | PackageError
"""Why there is no package."""
Outcome: TypeAlias = Package | Failure
"""A published package, whether it passed its checks or not; or why there is none."""


class Recorded(Protocol):
    """A model whose calls on torch were recorded, whatever it does."""

    @property
    def subject(self) -> Subject:
        """What ``deploy.json`` tells of it."""
        ...

    @property
    def parts(self) -> Sequence[ModelPart]:
        """The parts that are exported."""
        ...

    @property
    def calls(self) -> Mapping[str, Sequence[Call]]:
        """The recorded calls of each part, by its name."""
        ...

    def described(self, folder: Path) -> dict[str, Any] | None:
        """The section of ``deploy.json`` for ``photogram_runtime``, whose files are written into ``folder``."""
        ...

    def checked(self, package: Package, tell: Tell) -> dict[str, Any]:
        """The section ``checks``; a sheet of images may be written into the package's folder."""
        ...

    def measured(self, packages: Mapping[str, Package], tell: Tell) -> Mapping[str, dict[str, Any]]:
        """The section ``profile`` of each of ``packages``, all measured in turns."""
        ...


class Unrunnable(PhotogramError):
    """A runtime fails with a graph that it could read."""


@dataclass
class _Draft:
    """A package that is not published yet."""

    package: Package
    manifest: dict[str, Any]
    writing: ExitStack
    """Publishes it at its end; after an error it removes it."""


def make_package(model: Recorded, target: Target, store: PackageStore, *, is_forced: bool, tell: Tell) -> Package:
    """As :func:`make_packages`, for a single target.

    Raises:
        UnknownTarget, Missing: the target cannot be had here.
        Unexportable, Unrunnable: a part cannot be exported; the runtime fails with it.
        Busy: another process is making the same package.
        PackageError: a graph cannot be opened here.
        OSError: the disk is full.
    """
    ((_, found),) = make_packages(model, [target], store, is_forced=is_forced, tell=tell)
    if isinstance(found, Exception):
        raise found
    return found


def make_packages(
    model: Recorded, targets: Sequence[Target], store: PackageStore, *, is_forced: bool, tell: Tell
) -> Iterator[tuple[Target, Outcome]]:
    """Make the packages of ``model`` for ``targets`` and publish them, whether they pass their checks or not.

    Args:
        is_forced: whether they are served even if they do not pass.

    Yields:
        Each target with what came of it: first those that cannot be made, as soon as that is known.

    Raises:
        OSError: the disk is full; none is published.
    """
    name, drafts = model.subject.name, dict[Target, _Draft]()
    with ExitStack() as publishing, store.scratch(name) as scratch:
        traces = Traces(model.parts, model.calls, model.subject.family, scratch)
        for target in targets:
            try:
                with ExitStack() as discarding:
                    folder = discarding.enter_context(store.writing(name, target.name))
                    package, manifest = _drafted(model, traces, target, folder, _naming(tell, target))
                    drafts[target] = _Draft(package, manifest, publishing.enter_context(discarding.pop_all()))
            except (PhotogramError, PackageError) as error:
                yield target, error
        failures = _measured(model, {key: each for key, each in drafts.items() if not is_recipe(each.manifest)}, tell)
        for target, failure in failures.items():
            drafts.pop(target).writing.__exit__(type(failure), failure, None)
            yield target, failure
        for draft in drafts.values():
            draft.manifest["checks"]["forced"] = is_forced
            write_manifest(draft.package.folder, draft.manifest)
    for target in drafts:
        yield target, store.read(name, target.name)


def _naming(tell: Tell, target: Target) -> Tell:
    return lambda progress: tell(replace(progress, target=target.name))


def _drafted(
    model: Recorded, traces: Traces, target: Target, folder: Path, tell: Tell
) -> tuple[Package, dict[str, Any]]:
    """Build and check."""
    backend = check_target(target.backend, target.precision)
    manifest = manifest_of(model.subject, target, export_parts(traces, target, backend, folder, tell), backend)
    description = model.described(folder)
    if description is not None:
        manifest[model.subject.kind] = description
    write_manifest(folder, manifest)
    package = read_package(folder)
    if backend.recipe_only is None:
        manifest["checks"] = _checked(model, package, tell)
    else:
        manifest["checks"] = {"ran": False, "passed": False, "failures": [], "why": backend.recipe_only}
    return package, manifest


def _checked(model: Recorded, package: Package, tell: Tell) -> dict[str, Any]:
    try:
        return model.checked(package, tell)
    except (PhotogramError, PackageError, OSError):
        raise
    except Exception as error:  # each runtime has errors of its own
        raise Unrunnable(f"the package was made, and cannot be run here: {summary(error)}") from error


def _measured(model: Recorded, drafts: Mapping[Target, _Draft], tell: Tell) -> dict[Target, Failure]:
    """Measure ``drafts``; those that cannot be measured, with the reason."""
    by_name, failures = {target.name: target for target in drafts}, dict[Target, Failure]()
    sizes = {target.name: _size(draft.package) for target, draft in drafts.items()}
    for names in groups_that_fit(sizes, free_bytes() // 2):
        failures |= _measure(model, {by_name[name]: drafts[by_name[name]] for name in names}, tell)
    return failures


def _measure(model: Recorded, drafts: Mapping[Target, _Draft], tell: Tell) -> dict[Target, Failure]:
    """Measure ``drafts`` in turns; after an error each of them alone, which shows whose error it is."""
    try:
        found = model.measured({target.name: draft.package for target, draft in drafts.items()}, tell)
    except OSError:
        raise
    except Exception as error:  # each runtime has errors of its own
        if len(drafts) > 1:
            alone = [_measure(model, {target: draft}, tell) for target, draft in drafts.items()]
            return {target: problem for each in alone for target, problem in each.items()}
        (target,) = drafts
        if isinstance(error, PhotogramError | PackageError):
            return {target: error}
        return {target: Unrunnable(f"the package cannot be measured: {summary(error)}")}
    for target, draft in drafts.items():
        draft.manifest["profile"] = found[target.name]
    return {}


def groups_that_fit(sizes: Mapping[str, int], most: int) -> list[list[str]]:
    """The names in ``sizes`` in groups of at most ``most`` bytes together, or of a single one that is larger."""
    groups: list[list[str]] = []
    for name, size in sizes.items():
        if groups and sum(sizes[each] for each in groups[-1]) + size <= most:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def free_bytes() -> int:
    """The memory that nothing uses, not even the cache of files."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _size(package: Package) -> int:
    return sum(each.stat().st_size for each in package.folder.iterdir())

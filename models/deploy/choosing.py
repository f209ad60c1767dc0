"""The choice of a package when a model is loaded: the fastest that passed, if it is faster than what is built in."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from photogram_runtime.errors import PackageError
from photogram_runtime.package import read_package, usability_problem

from models.deploy.packaging import digest_of_weights, modules_of
from models.deploy.profiling_keys import BUILT_IN, DEPLOYED, speed
from models.deploy.serving import serve
from models.deploy.store import PackageStore
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.failures import summary

log = logging.getLogger(__name__)


def serve_fastest(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """``checkpoint`` with the fastest of its packages in ``folder``; unchanged if none may be used, or none is faster.

    A package that is damaged, unproven, of another checkpoint, or of another version is left out with a warning.
    """
    store, name = PackageStore(folder), checkpoint.spec.name
    targets = [target for _, target in sorted(_candidates(store, name), reverse=True)]
    if not targets:
        return checkpoint
    digest = digest_of_weights(modules_of(checkpoint))
    for target in targets:
        try:
            package = read_package(store.place(name, target))
            if package.manifest["source"]["sha256"] != digest:
                log.warning("the package %s of %s was made of other weights; deploy it again", target, name)
                continue
            served = serve(checkpoint, package)
        except PackageError as error:
            log.warning("the package %s of %s is not used: %s", target, name, error)
            continue
        except Exception as error:  # a runtime may fail in any way, and torch always works
            log.warning("the package %s of %s cannot be used: %s", target, name, summary(error), exc_info=error)
            continue
        log.info("%s runs on its package %s", name, target)
        return served
    return checkpoint


def _candidates(store: PackageStore, model: str) -> Iterator[tuple[float, str]]:
    """The packages that may be used, as far as their ``deploy.json`` tells, each with its speed."""
    for target, manifest in store.manifests(model):
        problem = str(manifest) if isinstance(manifest, PackageError) else _problem(manifest)
        if problem is not None:
            log.warning("the package %s of %s is not used: %s", target, model, problem)
        elif isinstance(manifest, dict) and _is_worth_it(manifest):
            yield speed(manifest["profile"], DEPLOYED), target


def _problem(manifest: Mapping[str, Any]) -> str | None:
    checks = manifest["checks"]
    if not checks.get("passed") and not checks.get("forced"):
        return "it did not pass its checks"
    return usability_problem(manifest)


def _is_worth_it(manifest: Mapping[str, Any]) -> bool:
    """Whether it was faster than what is built in; one that is forced is wanted anyway."""
    found = manifest["profile"]
    return bool(manifest["checks"].get("forced")) or speed(found, DEPLOYED) >= speed(found, BUILT_IN)

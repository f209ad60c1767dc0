"""The choice of a package when a model is loaded: the one that was chosen by `photogram deploy use`, or else the
fastest that passed, unless the built-in way is faster.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from photogram_runtime.errors import PackageDamaged, PackageError
from photogram_runtime.package import Package, is_recipe, usability_problem

from models.deploy.names import DRAWING
from models.deploy.packaging import digest_of_weights, modules_of
from models.deploy.profiling_keys import BUILT_IN, DEPLOYED, speed, was_slower
from models.deploy.serving import serve
from models.deploy.store import PackageStore
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.failures import summary

log = logging.getLogger(__name__)
Served = TypeVar("Served")


def serve_fastest(checkpoint: Checkpoint, store: PackageStore, name: str | None = None) -> Checkpoint:
    """``checkpoint`` with the fastest of its packages; unchanged if none may be used, or all are slower.

    Args:
        name: under which they are stored, if the model has LoRAs.
    """
    served = fastest(
        store, name or checkpoint.spec.name, DRAWING, lambda: digest_of_weights(modules_of(checkpoint)),
        lambda package: serve(checkpoint, package, store.compiled),
    )  # fmt: skip
    return served or checkpoint


def fastest(
    store: PackageStore, model: str, kind: str, digest: Callable[[], str], serve: Callable[[Package], Served]
) -> Served | None:
    """What ``serve`` makes of the fastest package of ``model`` that may be used; ``None`` if there is none.

    A package that somebody chose comes before all others. A package that is damaged, unproven, of other weights, of a
    model that does something else, or for another version or machine is left out with a warning.

    Args:
        kind: what the model does, as ``deploy.json`` says it.
        digest: gives the digest of the model's weights; it is called only if a package may be used.
    """
    pinned = store.pinned(model)
    if pinned == BUILT_IN:
        log.info("%s runs on what is built in, as was chosen", model)
        return None
    targets = [target for *_, target in sorted(_candidates(store, model, kind, pinned), reverse=True)]
    if pinned is not None and pinned not in targets:
        log.warning("the package %s of %s was chosen and cannot be used", pinned, model)
    found = digest() if targets else ""
    for target in targets:
        try:
            package = store.read(model, target)
            if package.manifest["source"].get("sha256") != found:
                raise PackageDamaged("it was made of other weights; deploy it again")
            served = serve(package)
        except PackageError as error:
            log.warning("the package %s of %s is not used: %s", target, model, error)
        except Exception as error:  # a runtime may fail in any way, and torch always works
            log.warning("the package %s of %s cannot be used: %s", target, model, summary(error), exc_info=error)
        else:
            log.info("%s runs on its package %s", model, target)
            return served
    return None


def _candidates(store: PackageStore, model: str, kind: str, pinned: str | None) -> Iterator[tuple[bool, float, str]]:
    """The packages that may be used, as far as their ``deploy.json`` tells: whether it was chosen, and its speed."""
    for target, manifest in store.manifests(model):
        if isinstance(manifest, dict) and is_recipe(manifest):
            continue
        problem = str(manifest) if isinstance(manifest, PackageError) else _problem(manifest, kind)
        if problem is not None:
            log.warning("the package %s of %s is not used: %s", target, model, problem)
        elif isinstance(manifest, dict) and (target == pinned or _is_worth_it(manifest)):
            yield target == pinned, speed(manifest["profile"], DEPLOYED), target


def is_wanted(manifest: Mapping[str, Any]) -> bool:
    """Whether models are run on the package of this ``deploy.json``, if it is the fastest of them."""
    return _problem(manifest, manifest["kind"]) is None and _is_worth_it(manifest)


def _problem(manifest: Mapping[str, Any], kind: str) -> str | None:
    checks = manifest["checks"]
    if manifest["kind"] != kind:
        return f"it is that of another model with this name, which is for {manifest['kind']}"
    if not checks.get("passed") and not checks.get("forced"):
        return "it did not pass its checks"
    return usability_problem(manifest)


def _is_worth_it(manifest: Mapping[str, Any]) -> bool:
    """Whether it was not slower than what runs without it; one that is forced is wanted anyway."""
    return bool(manifest["checks"].get("forced")) or not was_slower(manifest["profile"])

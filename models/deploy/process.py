"""A deployment as a process of its own, for the job kind ``deploy``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from photogram_runtime.errors import PackageError

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.vision import VisionSpec
from models.deploy.backends import check_target
from models.deploy.combinations import stored_name
from models.deploy.names import Deployable, find_model
from models.deploy.orders import Order
from models.downloads.download import download, is_remote
from models.downloads.progress import Progress as DownloadProgress
from models.downloads.space import DISK_PROBLEMS
from models.errors import DeployFailed, JobFailure, OutOfMemory, PhotogramError
from models.job_process import Tell, run

if TYPE_CHECKING:
    from photogram_runtime.package import Package

    from models.deploy.packaging import Progress

SHARES = {"loading": 0.0, "recording": 0.1, "exporting": 0.45, "checking": 0.05, "drawing": 0.1, "measuring": 0.3}
"""The share of the whole time that each stage takes about, in their order."""


def main() -> int:
    """Deploy as the order says."""
    return run(_deploy, _failure)


def _deploy(line: bytes, tell: Tell) -> None:
    order = Order.read(line)
    check_target(order.backend, order.precision)  # before a download and torch, which take long
    catalog = Catalog.load(order.catalog)
    found = find_model(order.model, catalog, order.loras)
    _silence()
    from models.deploy.loading import record_model
    from models.deploy.making import make_package
    from models.deploy.packaging import Progress, Target
    from models.deploy.store import PackageStore

    tell(_stage(Progress("loading", 0, 1)))
    _fetch(found)
    target = Target(order.backend, order.precision, order.steps, order.parts, order.shapes)
    store = PackageStore(order.packages)
    store.require_free(stored_name(found.name, order.loras), target.name)

    def told(progress: Progress) -> None:
        tell(_stage(progress))

    model = record_model(order.model, target, catalog, order.built_in, order.cache, told, order.loras)
    package = make_package(model, target, store, is_forced=order.is_forced, tell=told)
    tell({"event": "deployed", **_document(package)})


def _silence() -> None:
    """Before torch is imported."""
    from models.diffusion.quiet import let_waiting_threads_sleep, silence_libraries

    let_waiting_threads_sleep()
    silence_libraries()


def _fetch(model: Deployable) -> None:
    """Bring the files of the model here, unless they are."""
    if isinstance(model, VisionSpec):
        from models.vision.files import download as download_vision
        from models.vision.files import is_on_disk

        if not is_on_disk(model):
            download_vision(model, DownloadProgress())
    elif isinstance(model, ModelSpec) and is_remote(model):
        download(model, DownloadProgress())


def _stage(progress: Progress) -> dict[str, Any]:
    return {
        "event": "stage", "stage": progress.stage, "done": progress.done, "total": progress.total,
        "part": progress.detail, "share": share_done(progress),
    }  # fmt: skip


def share_done(progress: Progress) -> float:
    """The share of the whole deployment that is over; what does not draw has not all of its stages."""
    stages = list(SHARES)
    before = sum(SHARES[each] for each in stages[: stages.index(progress.stage)])
    return before + SHARES[progress.stage] * progress.done / max(1, progress.total)


def _document(package: Package) -> dict[str, Any]:
    """What the job tells of the package: all of ``deploy.json`` but its parts' calls and the digests of its files."""
    from photogram_runtime.package import is_recipe

    from models.deploy.choosing import is_wanted

    manifest: Mapping[str, Any] = package.manifest
    profile = manifest["profile"]
    return {
        "model": manifest["model"], "target": f"{package.backend}-{package.precision}",
        "base": manifest["base"], "loras": manifest["loras"],
        **{name: manifest["checks"].get(name) for name in ("passed", "forced", "failures", "lowest_psnr_db")},
        "recipe_only": is_recipe(manifest),
        "served": is_wanted(manifest),
        "images_per_s": {name: each["images_per_s"] for name, each in profile.items() if isinstance(each, dict)},
        "load_s": profile.get("load_s"),
        "size_bytes": sum(each["bytes"] for each in manifest["files"].values()),
        "parts": list(manifest["parts"]), "checks": manifest["checks"], "profile": profile,
    }  # fmt: skip


def _failure(error: Exception) -> JobFailure | None:
    """What a job fails with; ``None`` for what nobody foresaw."""
    from models.diffusion.failures import is_out_of_memory

    if isinstance(error, JobFailure):
        return error
    if is_out_of_memory(error):
        return OutOfMemory("the deployment does not fit into memory")
    if isinstance(error, PhotogramError | PackageError):
        return DeployFailed(str(error))
    if isinstance(error, OSError) and error.errno in DISK_PROBLEMS:
        return DeployFailed(f"the package cannot be written: {DISK_PROBLEMS[error.errno]}")
    return None


if __name__ == "__main__":
    sys.exit(main())

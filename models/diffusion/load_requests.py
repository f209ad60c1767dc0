"""Load requests for each type of model, and the keys by which the model cache shares what was loaded."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import ModelSpec
from models.deploy.combinations import combined_name
from models.deploy.store import PackageStore
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.control.loading import load_controlnet
from models.diffusion.lora import LoraWeight, merge_weights
from models.diffusion.upscaling.faces import FaceRestorer, load_face_restorer
from models.diffusion.upscaling.upscaler import Upscaler, load_upscaler
from models.diffusion.work import Download, LoadRequest
from models.downloads.download import download, is_remote
from models.downloads.on_disk import is_on_disk


def weights_of(spec: ModelSpec) -> Hashable:
    """The key of the weights of ``spec``, shared by catalog entries that differ only in name, defaults or limits."""
    return (
        spec.family, spec.source, spec.dtype, spec.config, spec.prediction, spec.vae, spec.denoiser, spec.offload,
        spec.weights, spec.attention, spec.vae_tiling, spec.vae_slicing,
    )  # fmt: skip


def checkpoint_request(
    spec: ModelSpec, load: Callable[[ModelSpec], Checkpoint], packages: Path | None = None
) -> LoadRequest[Checkpoint]:
    """Request the checkpoint of ``spec``, to be loaded by ``load``; anew when its packages in ``packages`` change."""
    needs_download = Download(lambda: not is_on_disk(spec), partial(download, spec)) if is_remote(spec) else None
    request = LoadRequest(weights_of(spec), f"model {spec.name}", partial(load, spec), needs_download)
    if packages is None:
        return request
    return replace(request, version=partial(PackageStore(packages).version, spec.name))


def lora_request(base: Checkpoint, loras: Sequence[tuple[AuxiliaryModel, LoraWeight]]) -> LoadRequest[Checkpoint]:
    """Request ``base`` with LoRAs, each with its weight, on one of the packages that were made of this combination."""
    versions = tuple((_file_version(lora.path), weight) for lora, weight in loras)
    names = ", ".join(lora.name for lora, _ in loras)
    key, make = ("loras", weights_of(base.spec), versions), partial(base.adapters.get, loras)
    request = LoadRequest(key, f"LoRA {names}", make, parent=weights_of(base.spec))
    if base.packages is None:
        return request
    name, store = _combined_name(base, loras), PackageStore(base.packages)
    return replace(request, load=partial(_deployed, make, store, name), version=partial(store.version, name))


def _combined_name(base: Checkpoint, loras: Sequence[tuple[AuxiliaryModel, LoraWeight]]) -> str:
    return combined_name(base.spec.name, [(lora.name, weights) for lora, weights in merge_weights(loras)])


def _deployed(make: Callable[[], Checkpoint], store: PackageStore, name: str) -> Checkpoint:
    checkpoint = make()
    if not checkpoint.has_loras or store.version(name) is None:
        return checkpoint
    from models.deploy.choosing import serve_fastest

    return serve_fastest(checkpoint, store, name)


def controlnet_request(controlnet: AuxiliaryModel, checkpoint: Checkpoint) -> LoadRequest[ControlNetModel]:
    """Request a ControlNet for the UNet of ``checkpoint``."""
    unet: Any = checkpoint.pipeline.unet
    key = ("controlnet", _file_version(controlnet.path), weights_of(checkpoint.spec))
    read = partial(load_controlnet, controlnet.path, unet, checkpoint.dtype, checkpoint.device)
    return LoadRequest(key, f"ControlNet {controlnet.name}", read)


def upscaler_request(upscaler: AuxiliaryModel, device: torch.device, packages: Path | None) -> LoadRequest[Upscaler]:
    """Request an upscaler, in half precision on a GPU, with one of its ``packages`` on a CPU."""
    store = None if packages is None or device.type != "cpu" else PackageStore(packages)
    deployed_at = None if store is None else store.version(upscaler.name)
    key = ("upscaler", _file_version(upscaler.path), deployed_at and (upscaler.name, deployed_at))
    read = partial(_loaded, upscaler, device, store if deployed_at else None)
    return LoadRequest(key, f"upscaler {upscaler.name}", read)


def _loaded(spec: AuxiliaryModel, device: torch.device, packages: PackageStore | None) -> Upscaler:
    upscaler = load_upscaler(spec.path, device, torch.float16 if device.type == "cuda" else torch.float32)
    if packages is None:
        return upscaler
    from models.deploy.upscaling import upscale_fastest

    return upscale_fastest(spec, upscaler, packages)


def face_restorer_request(
    restorer: AuxiliaryModel, detector: AuxiliaryModel, device: torch.device
) -> LoadRequest[FaceRestorer]:
    """Request a face restorer together with its face detector."""
    key = ("faces", _file_version(restorer.path), _file_version(detector.path))
    return LoadRequest(key, "face restorer", partial(load_face_restorer, restorer.path, detector.path, device))


def _file_version(path: Path) -> Hashable:
    """Changes when the file is replaced. A missing file has a version too; its load fails."""
    return path, path.stat().st_mtime_ns if path.exists() else None

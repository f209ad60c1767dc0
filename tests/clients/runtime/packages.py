"""Packages for the tests, of tiny models: each part exported as it is, with the description that the service gives."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from photogram_runtime.package import write_manifest
from torch import nn

from models.deploy.descriptions import drawing_description, vision_description
from models.diffusion.checkpoint import Checkpoint
from models.vision.model import EMBEDDING, LOGITS, POOLED, VisionModel

Tensors = Mapping[str, torch.Tensor]
Ranges = Mapping[str, Mapping[int, tuple[int, int]]]
"""The axes of each input that have a variable length, with the shortest and the longest."""


class Named(nn.Module):
    """Calls ``module`` by name, and takes some of its results."""

    def __init__(self, module: Any, names: Sequence[str], results: Sequence[str | int]) -> None:
        super().__init__()
        self.module, self._names, self._results = module, names, results

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.module(**dict(zip(self._names, tensors, strict=True)))
        return tuple(found[each] for each in self._results)


class Decoder(nn.Module):
    """The decoder of a VAE."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: torch.Tensor) -> Any:
        return {"pixels": self.vae.decode(latents, return_dict=False)[0]}


class Sight(nn.Module):
    """All that can be read of a vision model."""

    def __init__(self, model: VisionModel) -> None:
        super().__init__()
        self.module, self.projection = model.module, model.projection

    def forward(self, pixels: torch.Tensor) -> Any:
        features = self.module.forward_features(pixels)
        pooled = self.module.forward_head(features, pre_logits=True)
        found = {LOGITS: self.module.forward_head(features), POOLED: pooled}
        return found if self.projection is None else {**found, EMBEDDING: pooled @ self.projection.T}


def export(
    module: nn.Module, file: Path, inputs: Tensors, outputs: Sequence[str | int], ranges: Ranges
) -> dict[str, Any]:
    """Write the graph of ``module`` to ``file``; the entry of the part in ``deploy.json``."""
    names = [str(each) for each in outputs]
    axes = {name: {axis: f"{name}_{axis}" for axis in lengths} for name, lengths in ranges.items()}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Named(module, list(inputs), outputs).eval(), tuple(inputs.values()), str(file), input_names=list(inputs),
            output_names=[f"given_{name}" for name in names], dynamic_axes=axes, opset_version=18, dynamo=False,
        )  # fmt: skip
    return {
        "file": file.name,
        "inputs": [_port(name, tensor, ranges.get(name, {})) for name, tensor in inputs.items()],
        "outputs": [{"name": name, "dtype": "float32", "shape": []} for name in names],
    }


def _port(name: str, tensor: torch.Tensor, lengths: Mapping[int, tuple[int, int]]) -> dict[str, Any]:
    return {
        "name": name,
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": [None if axis in lengths else length for axis, length in enumerate(tensor.shape)],
        "bounds": [list(lengths.get(axis, (length, length))) for axis, length in enumerate(tensor.shape)],
    }


def manifest_of(kind: str, family: str, **fields: Any) -> dict[str, Any]:
    """``deploy.json`` of a package of ONNX Runtime that passed its checks on this machine."""
    defaults: dict[str, Any] = {
        "model": "tiny", "backend": "onnxruntime", "precision": "f32", "kind": kind, "family": family, "parts": {},
        "source": {}, "versions": {}, "requires": {"onnxruntime": version("onnxruntime")},
        "device": {"type": "cpu", "machine": platform.machine()}, "checks": {"passed": True}, "profile": {},
    }  # fmt: skip
    return defaults | fields


def deploy_drawing(checkpoint: Checkpoint, folder: Path, sides_px: tuple[int, int] = (32, 128)) -> Path:
    """Write the package of a model of the family Stable Diffusion, for sides of so many pixels."""
    folder.mkdir(parents=True)
    pipeline = checkpoint.pipeline
    described = drawing_description(checkpoint, folder)
    assert described is not None
    tokens, channels = described["tokens"], described["latent_channels"]
    low, high = (px // described["scale_factor"] for px in sides_px)
    ids = torch.full((1, tokens), described["pad_id"])
    text = {"input_ids": ids} | ({"attention_mask": torch.ones_like(ids)} if described["uses_mask"] else {})
    sides, some, width = {2: (low, high), 3: (low, high)}, {0: (1, 2)}, pipeline.unet.config.cross_attention_dim
    denoised = {
        "sample": torch.randn(2, channels, 13, 15), "timestep": torch.rand(2),
        "encoder_hidden_states": torch.randn(2, tokens, width),
    }  # fmt: skip
    varying = {"sample": some | sides, "timestep": some, "encoder_hidden_states": some}
    parts = {
        "text_encoder": export(pipeline.text_encoder, folder / "text.onnx", text, ["last_hidden_state"], {}),
        "unet": export(pipeline.unet, folder / "unet.onnx", denoised, [0], varying),
        "vae_decoder": export(
            Decoder(pipeline.vae), folder / "decoder.onnx", {"latents": torch.randn(1, channels, 13, 15)}, ["pixels"],
            {"latents": sides},
        ),
    }  # fmt: skip
    write_manifest(folder, manifest_of("drawing", checkpoint.spec.family, parts=parts, drawing=described))
    return folder


def deploy_vision(model: VisionModel, folder: Path) -> Path:
    """Write the package of a vision model."""
    folder.mkdir(parents=True)
    described = vision_description(model)
    assert described is not None
    pixels = torch.randn(1, *described["input_size"])
    part = export(Sight(model), folder / "model.onnx", {"pixels": pixels}, described["outputs"], {})
    write_manifest(folder, manifest_of("vision", "timm", parts={"model": part}, vision=described))
    return folder

"""A hub on the loopback that the real client of the hub uses in this process, with an empty cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.downloads import transfer
from tests.loopback_hub import LoopbackHub, serving_hub
from tests.tiny import build_tiny_sd


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """An empty hub; its cache is ``tmp_path / "cache"``. The client has read its variables when it was imported."""
    monkeypatch.setattr(transfer, "PAUSE_S", 0.01)
    for name in ("HF_TOKEN", "CIVITAI_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with serving_hub() as served:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", served.url)
        template = f"{served.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("CIVITAI_ENDPOINT", served.url)
        yield served


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline in miniature, with single precision alone."""
    return build_tiny_sd(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def both_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the variant fp16, a safety checker, and weights in formats that are not needed."""
    from diffusers import StableDiffusionPipeline

    folder = build_tiny_sd(tmp_path_factory.mktemp("both"))
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.half()
    pipeline.save_pretrained(folder, variant="fp16")
    index = folder / "model_index.json"
    index.write_text(
        index.read_text().replace(
            '"safety_checker": [\n    null,\n    null\n  ]', '"safety_checker": ["stable_diffusion", "Checker"]'
        )
    )
    (folder / "safety_checker").mkdir()
    for name in ("safety_checker/model.safetensors", "unet/diffusion_pytorch_model.bin", "unet/model.onnx",
                 "unet/flax_model.msgpack", "unet/diffusion_pytorch_model.non_ema.safetensors",
                 "unet/openvino_model.xml", "whole.safetensors"):  # fmt: skip
        (folder / name).write_bytes(b"not needed")
    return folder

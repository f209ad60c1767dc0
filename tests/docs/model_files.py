"""The models that the pages add: small files under the names of the pages, and repositories of a loopback hub."""

from __future__ import annotations

from pathlib import Path

from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.hub import CivitaiFile
from tests.published_file import SD1, SDXL, published_shapes, published_vae
from tests.tiny import build_tiny_sd, build_tiny_sdxl
from tests.weight_files import safetensors, write_sparse

XL_LORA = {"unet.x.attn2.to_k.lora_A.weight": [4, 2048], "unet.x.attn2.to_k.lora_B.weight": [8, 4]}
FILES = {
    "stable-diffusion-webui/models/Lora/style/film.safetensors": safetensors(XL_LORA),
    "stable-diffusion-webui/models/Stable-diffusion/one.safetensors": safetensors(
        {**published_shapes(SD1), "model_ema.decay": []}, dtype="F4"
    ),
    "stable-diffusion-webui/models/Stable-diffusion/old.ckpt": b"\x80\x02}q\x00.",
}
"""Beside the snippets of a page."""
LINKED = "my-model.safetensors"
LINKED_FILE = safetensors(published_shapes(SD1), dtype="F4")
"""What the pages find at https://example.org."""
CIVITAI_VERSION = 128713


def make_model_files(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    checkpoint = published_shapes(SDXL)
    write_sparse(folder / "mine.safetensors", {**checkpoint, "v_pred": [0]}, "F16")
    write_sparse(folder / "my-checkpoint.safetensors", checkpoint, "F16")
    write_sparse(folder / "my-vae.safetensors", published_vae(), "F16")


def fill(hub: LoopbackHub, folder: Path) -> None:
    """Put the repositories and the file of Civitai that the pages name into ``hub``; ``folder`` gets what is built."""
    sd, sdxl = build_tiny_sd(folder / "sd"), build_tiny_sdxl(folder / "sdxl")
    hub.add("stabilityai/sd-turbo", sd)
    hub.add("stable-diffusion-v1-5/stable-diffusion-v1-5", sd)
    hub.add("stabilityai/stable-diffusion-xl-base-1.0", sdxl)
    hub.civitai[CIVITAI_VERSION] = CivitaiFile(LINKED_FILE, "dreamshaper_8.safetensors")

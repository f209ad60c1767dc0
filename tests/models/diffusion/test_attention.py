"""Choices of attention: the images are those of diffusers with the same choice, and other models are left alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from diffusers.models.attention_processor import AttnProcessor

from models.catalog.catalog import ModelSpec
from models.catalog.families import ATTENTIONS, FAMILIES, FLUX, PIXART_SIGMA, SD3, SDXL, STABLE_DIFFUSION
from models.catalog.libraries import PACKAGES_OF_ATTENTION, missing_package
from models.diffusion.attention import choose_attention
from models.diffusion.checkpoint_loading import load_checkpoint
from models.errors import CatalogError, ModelUnavailable
from tests.models.diffusion.plain import draw, open_studio
from tests.models.diffusion.rig import CPU, Studio, pixel_difference, spec_of
from tests.models.diffusion.test_placement import ROWS, drawn
from tests.tiny import build_tiny_flux, build_tiny_pixart, build_tiny_sd, build_tiny_sdxl

BUILDS: dict[str, Callable[[Path], Path]] = {
    STABLE_DIFFUSION: build_tiny_sd, SDXL: build_tiny_sdxl, PIXART_SIGMA: build_tiny_pixart,
    FLUX: partial(build_tiny_flux, guidance_embeds=True),
}  # fmt: skip


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What computed attention: the plain processor, and torch's SDPA with its kernel of plain operations."""
    calls: list[str] = []
    processor, backends = AttnProcessor.__call__, _AttentionBackendRegistry._backends
    math = backends[AttentionBackendName._NATIVE_MATH]
    monkeypatch.setattr(
        AttnProcessor, "__call__", lambda *args, **more: calls.append("processor") or processor(*args, **more)
    )
    monkeypatch.setitem(
        backends, AttentionBackendName._NATIVE_MATH, lambda *args, **more: calls.append("math") or math(*args, **more)
    )
    return calls


@pytest.mark.parametrize("family", BUILDS)
def test_eager_attention_draws_as_diffusers_does(family: str, tmp_path: Path, counted: list[str]) -> None:
    folder = BUILDS[family](tmp_path / "tiny")
    images = drawn(load_checkpoint(spec_of(folder, family=family, attention="eager"), CPU))
    assert set(counted) == {"math" if family == FLUX else "processor"}
    studio = Studio.open(folder, family) if family in (STABLE_DIFFUSION, SDXL) else open_studio(folder, family)
    plain: Any = studio.plain
    if family == FLUX:
        plain.transformer.set_attention_backend("_native_math")
        _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)
    else:
        getattr(plain, studio.checkpoint.family.module).set_attn_processor(AttnProcessor())
    counted.clear()
    for row, wanted in ROWS.items():
        image = studio.draw_plain(wanted) if family in (STABLE_DIFFUSION, SDXL) else draw(studio, "txt2img", wanted)
        assert pixel_difference(image, images[row]) <= 1
    assert counted


@pytest.mark.parametrize("attention", ["eager", "flash", "sage"])
def test_other_models_of_the_process_keep_their_attention(attention: str, tmp_path: Path) -> None:
    folder = BUILDS[FLUX](tmp_path / "flux")
    one, other = (load_checkpoint(spec_of(folder, family=FLUX), CPU).pipeline.transformer for _ in range(2))
    choose_attention(one, attention)
    backends = [{block.attn.processor._attention_backend for block in each.transformer_blocks} for each in (one, other)]
    assert backends == [{"_native_math" if attention == "eager" else attention}, {None}]
    assert _AttentionBackendRegistry.get_active_backend()[0] == AttentionBackendName.NATIVE


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_only_what_diffusers_has_for_it(family: str) -> None:
    known = FAMILIES[family].attentions
    for attention in ATTENTIONS:
        if attention in known:
            assert spec_of(Path("x"), family=family, attention=attention).attention == attention
            continue
        with pytest.raises(CatalogError, match=f"attention must be one of {', '.join(known)} in the family {family}"):
            spec_of(Path("x"), family=family, attention=attention)


@pytest.mark.parametrize("attention", PACKAGES_OF_ATTENTION)
def test_a_missing_package_and_a_missing_gpu_are_told(
    attention: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(BUILDS[FLUX](tmp_path / "flux"), family=FLUX, attention=attention)
    with pytest.raises(ModelUnavailable, match=f'attention = "{attention}" needs a GPU'):
        load_checkpoint(spec, CPU)
    _, package = PACKAGES_OF_ATTENTION[attention]
    reason = f'attention = "{attention}" needs the package {package}, which is not installed: pip install {package}'
    assert missing_package(spec) == reason
    with pytest.raises(ModelUnavailable, match="which is not installed"):
        load_checkpoint(spec, torch.device("cuda"))
    monkeypatch.setattr("models.catalog.libraries.find_spec", lambda module: object())
    assert missing_package(spec) is None


@pytest.mark.parametrize("changes", [{"weights": "int8"}, {"weights": "int4"}, {"denoiser": Path("x.gguf")}])
def test_what_needs_gguf_says_so(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec(name="tiny", family=SD3, folder=Path("x"), **changes)
    assert missing_package(spec) is None
    monkeypatch.setattr("models.catalog.libraries.find_spec", lambda module: None)
    assert 'needs the package gguf, which is not installed: pip install "photogram-server[gguf]"' in str(
        missing_package(spec)
    )

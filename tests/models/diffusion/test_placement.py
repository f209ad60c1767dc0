"""Offloaded and reduced weights: the same images, and only what is used is fetched."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import OFFLOADS
from models.catalog.families import FLUX, IMG2IMG, PIXART_SIGMA, SD3, SDXL, STABLE_DIFFUSION
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.engine import Engine
from models.diffusion.parts import Part
from models.diffusion.placement import LayerPlacement, PartPlacement
from models.diffusion.reduced_weights import STORED
from models.jobs.params import DrawParams, LoraUse
from tests.models.diffusion.far_memory import open_far, tensors_of
from tests.models.diffusion.rig import (
    CPU,
    Studio,
    add_row,
    failures,
    images,
    params,
    pixel_difference,
    run,
    spec_of,
)
from tests.models.diffusion.test_law_images import IMAGES, over
from tests.tiny import (
    build_tiny_flux,
    build_tiny_house,
    build_tiny_lora,
    build_tiny_pixart,
    build_tiny_sd,
    build_tiny_sd3,
    build_tiny_sdxl,
)

BUILDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "sd": (build_tiny_sd, STABLE_DIFFUSION),
    "house": (build_tiny_house, STABLE_DIFFUSION),
    "sdxl": (build_tiny_sdxl, SDXL),
    "sd3": (build_tiny_sd3, SD3),
    "flux": (partial(build_tiny_flux, guidance_embeds=True), FLUX),
    "pixart": (build_tiny_pixart, PIXART_SIGMA),
}
META = torch.device("meta")
ROWS = {f"row {seed}": params(seed=seed, prompt=f"a cat {seed}") for seed in (1, 2, 3)}


@pytest.fixture(scope="module", params=BUILDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the family of a tiny model."""
    build, family = BUILDS[request.param]
    return build(tmp_path_factory.mktemp("models") / request.param), family


def drawn(checkpoint: Checkpoint, rows: dict[str, DrawParams] = ROWS, kind: str = "txt2img", **more: Any) -> Any:
    """The images of ``rows``, drawn together."""
    engine = Engine(lambda spec: checkpoint, capacity=Capacity(8), preview_every=2)
    for row_id, wanted in rows.items():
        add_row(engine, row_id, wanted, checkpoint.spec, kind, IMAGES, **more)
    events = run(engine)
    engine.close()
    assert failures(events) == {}
    return images(events)


def difference(first: Any, second: Any) -> int:
    return max(pixel_difference(first[row_id], second[row_id]) for row_id in first)


@pytest.mark.parametrize("weights", ["auto", "fp8"])
@pytest.mark.parametrize("offload", OFFLOADS[1:])
def test_offloading_changes_no_pixel(model: tuple[Path, str], offload: str, weights: str) -> None:
    """By more than rounding: weights that move lie elsewhere in memory, and some CPUs then add up in another order."""
    folder, family = model
    usual = load_checkpoint(spec_of(folder, family=family, weights=weights), CPU)
    offloaded, memory = open_far(folder, family, offload, weights)
    assert difference(drawn(usual), drawn(offloaded)) <= 1
    assert memory.fetched


@pytest.mark.parametrize("offload", OFFLOADS[1:])
def test_input_images_are_encoded_alike(tmp_path: Path, offload: str) -> None:
    rows = {"over": over(IMG2IMG)}
    folder = build_tiny_sd(tmp_path / "sd")
    offloaded, _ = open_far(folder, STABLE_DIFFUSION, offload)
    usual = load_checkpoint(spec_of(folder), CPU)
    assert difference(drawn(usual, rows, IMG2IMG), drawn(offloaded, rows, IMG2IMG)) == 0


def test_parts_take_turns(tmp_path: Path) -> None:
    checkpoint, memory = open_far(build_tiny_sd(tmp_path / "sd"), STABLE_DIFFUSION, "model")
    sizes = {part: sum(each.nbytes for each in tensors_of(checkpoint, part)) for part in Part}
    engine = Engine(lambda spec: checkpoint, capacity=Capacity(8), preview_every=0)
    for seed in range(3):
        add_row(engine, str(seed), params(seed=seed), checkpoint.spec)
    run(engine)
    in_turn = [sizes[part] for part in (Part.TEXT_ENCODERS, Part.DENOISER, Part.VAE)]
    assert sum(memory.fetched) == sum(in_turn), "each part came once for all rows"
    counts = [len(tensors_of(checkpoint, part)) for part in (Part.TEXT_ENCODERS, Part.DENOISER, Part.VAE)]
    assert sum(memory.fetched[: counts[0]]) == in_turn[0] and sum(memory.fetched[-counts[2] :]) == in_turn[2]


def test_a_part_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    checkpoint, memory = open_far(build_tiny_sd(tmp_path / "sd"), STABLE_DIFFUSION, "model")
    fetch, left = memory.fetch, [5]

    def full(stored: torch.Tensor) -> torch.Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise torch.OutOfMemoryError("full")
        return fetch(stored)

    placement = PartPlacement(checkpoint.pipeline.components, full, CPU)
    stored = [each.data_ptr() for each in tensors_of(checkpoint, Part.DENOISER)]
    with pytest.raises(torch.OutOfMemoryError), placement.using(Part.DENOISER):
        pass
    assert [each.data_ptr() for each in tensors_of(checkpoint, Part.DENOISER)] == stored
    left[0] = 1 << 20
    with placement.using(Part.DENOISER):
        assert [each.data_ptr() for each in tensors_of(checkpoint, Part.DENOISER)] != stored


def test_a_layer_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    checkpoint, _ = open_far(build_tiny_sd(tmp_path / "sd"), STABLE_DIFFUSION, "sequential")
    layer: Any = checkpoint.pipeline.unet.conv_in
    stored = layer.weight.data_ptr()
    with pytest.raises(RuntimeError):
        layer(torch.zeros(1, 1, 8, 8))
    assert layer.weight.data_ptr() == stored


class Received(Exception):
    """Raised by :class:`Recorder`, which computes nothing."""


class Recorder(nn.Module):
    """Keeps what it is called with. The ``meta`` device is another one than the CPU on every machine."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}

    def forward(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs
        raise Received


def test_layers_receive_their_inputs_on_the_device() -> None:
    encoder = nn.Sequential(Recorder())
    components = {"text_encoder": encoder}
    placement = LayerPlacement(components, torch.clone, META).of(components)
    with placement.using(Part.TEXT_ENCODERS), pytest.raises(Received):
        encoder(torch.zeros(1, dtype=torch.int64))
    recorder = encoder[0]
    with pytest.raises(Received):
        recorder(torch.zeros(1), 2, mask=torch.zeros(1), name="x", nothing=None)
    assert (recorder.args[0].device, recorder.args[1]) == (META, 2)
    assert (recorder.kwargs["mask"].device, recorder.kwargs["name"], recorder.kwargs["nothing"]) == (META, "x", None)
    assert len(recorder._forward_pre_hooks) == 2, "one for the inputs and one for the weights"


def test_token_ids_go_where_the_layers_compute(tmp_path: Path) -> None:
    """diffusers puts the ids of FLUX where the text encoder's weights are stored."""
    checkpoint = load_checkpoint(spec_of(build_tiny_flux(tmp_path / "flux", guidance_embeds=True), family=FLUX), CPU)
    encoder: Any = checkpoint.pipeline.text_encoder
    layer = encoder.get_input_embeddings()
    LayerPlacement(checkpoint.pipeline.components, torch.clone, META)
    received = []

    def note(module: nn.Module, args: tuple[Any, ...]) -> None:
        received.append(args[0].device)
        raise Received

    layer.register_forward_pre_hook(note)
    with pytest.raises(Received):
        checkpoint.pipeline.encode_prompt("a cat", device=META)
    assert received == [META]


@pytest.mark.parametrize("weights", ["auto", "fp8"])
@pytest.mark.parametrize("offload", OFFLOADS)
def test_loras_over_offloaded_weights(tmp_path: Path, offload: str, weights: str) -> None:
    folder = build_tiny_sd(tmp_path / "sd")
    lora = AuxiliaryModel(name="style", path=build_tiny_lora(tmp_path / "style.safetensors", folder))
    usual = load_checkpoint(spec_of(folder, weights=weights), CPU)
    offloaded = usual if offload == "none" else open_far(folder, STABLE_DIFFUSION, offload, weights)[0]
    mixed = {**ROWS, "lora": params(seed=1, prompt="a cat 1", loras=(LoraUse(name="style", weight=0.7),))}
    together = drawn(offloaded, mixed, loras={"style": lora})
    alone = {row_id: drawn(usual, {row_id: wanted}, loras={"style": lora})[row_id] for row_id, wanted in mixed.items()}
    assert difference(alone, together) <= 1
    assert pixel_difference(together["lora"], together["row 1"]) > 20, "the LoRA has an effect"


def test_weights_in_8_bits_draw_as_diffusers_does(tiny_sd: Studio, tmp_path: Path) -> None:
    studio = Studio.open(build_tiny_sd(tmp_path / "sd"))
    plain: Any = studio.plain
    plain.unet.enable_layerwise_casting(STORED, torch.float32)
    reduced = load_checkpoint(spec_of(tmp_path / "sd", weights="fp8"), CPU)
    for row_id, wanted in ROWS.items():
        image = drawn(reduced, {row_id: wanted})[row_id]
        assert studio.off_by(wanted, image) == 0
        assert tiny_sd.off_by(wanted, image) > 0, "8 bits change the image"


def test_a_cpu_offloads_nothing(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(spec_of(build_tiny_sd(tmp_path / "sd"), offload="model"), CPU)
    assert not checkpoint.placement.offloads


def test_a_vae_in_tiles_decodes_as_diffusers_does(tmp_path: Path) -> None:
    studio = Studio.open(build_tiny_sd(tmp_path / "sd"))
    plain: Any = studio.plain
    large = params(width=320, height=320, num_inference_steps=2)
    whole = studio.draw_plain(large)
    plain.vae.register_to_config(sample_size=64)
    tiled = load_checkpoint(spec_of(tmp_path / "sd", vae_tiling=True), CPU)
    for vae in (plain.vae, tiled.pipeline.vae):
        vae.tile_sample_min_size, vae.tile_latent_min_size = 128, 16
    plain.vae.enable_tiling()
    expected = studio.call_plain(large)[0]
    image = drawn(tiled, {"row": large})["row"]
    assert pixel_difference(expected, image) == 0
    assert pixel_difference(whole, image) > 0


@pytest.mark.parametrize(("slices", "calls"), [(False, 1), (True, 3)])
def test_a_vae_that_slices_decodes_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slices: bool, calls: int
) -> None:
    checkpoint = load_checkpoint(spec_of(build_tiny_sd(tmp_path / "sd"), vae_slicing=slices), CPU)
    vae, counted = checkpoint.pipeline.vae, []
    decode = vae.decode
    monkeypatch.setattr(vae, "decode", lambda *args, **options: counted.append(1) or decode(*args, **options))
    engine = Engine(lambda spec: checkpoint, capacity=Capacity(8), preview_every=0)
    for row_id, wanted in ROWS.items():
        add_row(engine, row_id, wanted, checkpoint.spec)
    run(engine)
    assert len(counted) == calls

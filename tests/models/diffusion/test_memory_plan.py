"""The memory plan: its sizes are those of the weights that are loaded, and what it says when memory is short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn

from models.catalog.catalog import WEIGHTS, ModelSpec
from models.catalog.families import FAMILIES
from models.diffusion import checkpoint_loading
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.memory_plan import SETTINGS, MemoryPlan, plan_of
from models.diffusion.parts import Part
from models.diffusion.placement import parts_of
from models.downloads.space import in_words
from models.errors import OutOfMemory
from tests.models.diffusion.rig import CPU, spec_of
from tests.models.diffusion.test_placement import BUILDS
from tests.tiny import build_tiny_file, build_tiny_refiner, build_tiny_sd

ALL = {**BUILDS, "refiner": (build_tiny_refiner, "sdxl-refiner")}
GB = 10**9
PLAN = MemoryPlan(
    text_encoders=9 * GB, denoiser=24 * GB, reduced_denoisers={"fp8": 15 * GB}, vae=GB, largest_layer=GB // 2,
    denoising=GB, decoding=2 * GB,
)  # fmt: skip


@pytest.fixture(scope="module", params=ALL)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    build, family = ALL[request.param]
    return spec_of(build(tmp_path_factory.mktemp("models") / request.param), family=family)


def layers_of(module: nn.Module) -> dict[str, int]:
    """The bytes of the stored weights of each layer, without the pooler that transformers adds to a BERT."""
    stored = {
        each.data_ptr(): (name, each.nbytes)
        for name, each in module.state_dict().items()
        if (each.is_floating_point() or each.dtype == torch.uint8) and not name.startswith("pooler.")
    }
    sizes = Counter[str]()
    for name, size in stored.values():
        sizes[name.rpartition(".")[0]] += size
    return sizes


@pytest.mark.parametrize(
    ("dtype", "weights"),
    [*product(("auto", "bfloat16"), WEIGHTS), *product(("float32", "float16"), WEIGHTS[:1])],
)
def test_sizes_are_those_of_the_weights(model: ModelSpec, dtype: str, weights: str) -> None:
    spec = replace(model, dtype=dtype, weights=weights)
    plan = plan_of(spec, on_gpu=False)
    assert plan is not None
    parts = parts_of(load_checkpoint(spec, CPU).pipeline.components)
    sizes = {part: sum(sum(layers_of(module).values()) for module in parts[part]) for part in Part}
    denoiser = plan.reduced_denoisers.get(weights, plan.denoiser)
    assert sizes == {Part.TEXT_ENCODERS: plan.text_encoders, Part.DENOISER: denoiser, Part.VAE: plan.vae}
    assert plan.weights_bytes("none", weights) == sum(sizes.values())
    if weights == "auto":
        largest = [max(layers_of(module).values()) for modules in parts.values() for module in modules]
        assert plan.largest_layer == max(largest)


def test_a_single_file_takes_what_its_folder_takes(tmp_path: Path) -> None:
    folder = build_tiny_sd(tmp_path / "sd")
    file = build_tiny_file(tmp_path / "sd.safetensors", folder)
    of_folder, of_file = plan_of(spec_of(folder)), plan_of(spec_of(None, file=file))
    assert of_folder is not None and of_file is not None
    for name in ("text_encoders", "denoiser", "vae", "denoising", "decoding"):
        assert getattr(of_file, name) == getattr(of_folder, name)


@pytest.mark.parametrize("parts", [("unet", "vae", "text_encoder"), ("unet",)], ids=["all", "some"])
def test_weights_that_are_there_in_half_precision_only_are_counted(tmp_path: Path, parts: Sequence[str]) -> None:
    folder = build_tiny_sd(tmp_path / "sd")
    plan = plan_of(spec_of(folder))
    for file in [file for part in parts for file in (folder / part).glob("*.safetensors")]:
        file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    assert plan_of(spec_of(folder)) == plan


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_an_estimate(family: str, tmp_path: Path) -> None:
    plan = plan_of(spec_of(build_tiny_sd(tmp_path / "sd"), family=family))
    assert plan is not None and plan.denoising > 0


def test_a_model_that_is_not_here_has_no_plan(tmp_path: Path) -> None:
    assert plan_of(spec_of(tmp_path / "none")) is None
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    assert plan_of(spec_of(None, file=tmp_path / "broken.safetensors")) is None


@pytest.mark.parametrize(
    ("free_gb", "advice"),
    [
        (30, 'set offload = "model" (needs 25.0 GB)'),
        (17, 'set offload = "sequential" (needs 2.5 GB), or offload = "model" and weights = "fp8" (needs 16.0 GB), '
             "which is faster and changes images a little"),
        (12, 'set offload = "sequential" (needs 2.5 GB)'),
        (1, "no setting of offload and weights fits: use a smaller model"),
    ],
)  # fmt: skip
def test_what_is_said_when_memory_is_short(free_gb: int, advice: str) -> None:
    said = PLAN.shortage(spec_of(Path("any")), free_gb * GB)
    assert said == f"needs 36.0 GB, {free_gb}.0 GB free: {advice}"


def test_nothing_is_said_when_it_fits() -> None:
    assert PLAN.shortage(spec_of(Path("any")), 36 * GB) is None
    assert PLAN.shortage(spec_of(Path("any"), offload="sequential"), 3 * GB) is None


def test_settings_need_less_and_less() -> None:
    needed = [PLAN.needed_bytes(*each) for each in SETTINGS[:3]]
    assert needed == sorted(needed, reverse=True)
    assert PLAN.needed_bytes("model", "fp8") < PLAN.needed_bytes("model", "auto")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets the device have so many free bytes."""
    return lambda free_bytes: monkeypatch.setattr(checkpoint_loading, "free_bytes", lambda device: free_bytes)


def test_weights_that_do_not_fit_are_not_loaded(tmp_path: Path, short: Callable[[int], None]) -> None:
    spec = spec_of(build_tiny_sd(tmp_path / "sd"))
    plan = plan_of(spec, on_gpu=False)
    assert plan is not None
    short(plan.weights_bytes("none", "auto") - 1)
    needed = in_words(plan.needed_bytes("none", "auto"))
    with pytest.raises(OutOfMemory, match=f"model 'tiny' does not fit into the device's memory: it needs {needed}, "):
        load_checkpoint(spec, CPU)


def test_a_model_that_may_not_fit_is_loaded_with_a_warning(
    tmp_path: Path, short: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    spec = spec_of(build_tiny_sd(tmp_path / "sd"))
    plan = plan_of(spec, on_gpu=False)
    assert plan is not None
    short(plan.weights_bytes("none", "auto"))
    load_checkpoint(spec, CPU)
    assert "model tiny may not fit into the device's memory: it needs" in caplog.text

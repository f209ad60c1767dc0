"""``photogram models add`` with diffusers folders and files that are not whole: refused with part and reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from models.catalog.catalog import Catalog
from service.commands.models import main
from tests.published_file import SD1, SD2, SDXL, build_published_file, published_shapes
from tests.tiny import build_tiny_file, build_tiny_sd
from tests.weight_files import write_sparse

pytestmark = pytest.mark.usefixtures("offline")
UNET, WEIGHTS = "unet/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sd(tmp_path_factory.mktemp("whole") / "tiny")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "tiny")


def pickled(folder: Path) -> None:
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.bin")


def cut_off(folder: Path) -> None:
    weights = (folder / UNET).read_bytes()
    (folder / UNET).write_bytes(weights[:-7])


def change(file: Path, edit: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    content = json.loads(file.read_text()) if file.suffix == ".json" else load_file(file)
    edit(content)
    if file.suffix == ".json":
        file.write_text(json.dumps(content))
    else:
        save_file(content, file)


def sharded(folder: Path) -> None:
    index = {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}}
    (folder / f"unet/{WEIGHTS}.index.json").write_text(json.dumps(index))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no part": (lambda at: shutil.rmtree(at / "vae"), "its vae is missing: there is no such folder"),
    "an empty part": (lambda at: [each.unlink() for each in (at / "vae").iterdir()], "its vae has no config.json"),
    "no vocabulary": (lambda at: (at / "tokenizer/tokenizer.json").unlink(), "its tokenizer has no vocabulary"),
    "no scheduler": (lambda at: (at / "scheduler/scheduler_config.json").unlink(), "its scheduler has no schedul"),
    "no weights": (lambda at: (at / UNET).unlink(), "its unet has no .safetensors weights"),
    "a pickle": (pickled, "its unet has no .safetensors weights, only diffusion_pytorch_model.bin: a pickle"),
    "a cut": (cut_off, f"its unet has weights that cannot be used: {WEIGHTS}: its file is incomplete"),
    "nothing": (lambda at: (at / UNET).write_bytes(b""), f"{WEIGHTS}: its file is empty"),
    "no tensors": (lambda at: save_file({}, at / UNET), f"{WEIGHTS} holds no tensors"),
    "no JSON": (lambda at: (at / "unet/config.json").write_text("{"), "its unet has a config.json that is no JSON"),
    "no object": (lambda at: (at / "unet/config.json").write_text("3"), "has a config.json that is no JSON object"),
    "a lost shard": (sharded, "its unet lacks diffusion_pytorch_model-00001-of-00002.safetensors, which its index of"),
    "a broken index": (lambda at: (at / f"unet/{WEIGHTS}.index.json").write_text("[]"), "its unet has an index of"),
    "shards elsewhere": (
        lambda at: (at / f"unet/{WEIGHTS}.index.json").write_text('{"weight_map": {"a": "../../x.safetensors"}}'),
        "its unet has an index of shards",
    ),
    "an index without a VAE": (
        lambda at: change(at / "model_index.json", lambda index: index.pop("vae")), "its VAE is missing",
    ),
    "a part of no class": (
        lambda at: change(at / "model_index.json", lambda index: index.update(vae=["diffusers"])), "its vae is",
    ),
    "a class that nobody has": (
        lambda at: change(at / "model_index.json", lambda index: index.update(vae=["diffusers", "VAE9000"])),
        "its vae cannot be made of its config.json",
    ),
    "a missing tensor": (
        lambda at: change(at / UNET, lambda weights: weights.pop("conv_in.bias")),
        "tensors, first of all 'conv_in.bias'",
    ),
    "a tensor of another shape": (
        lambda at: change(at / UNET, lambda weights: weights.update({"conv_in.bias": weights["conv_in.bias"][:3]})),
        "its unet has a tensor 'conv_in.bias' of the shape [3], and needs",
    ),
    "another configuration": (
        lambda at: change(at / "text_encoder/config.json", lambda config: config.update(num_hidden_layers=9)),
        "its text_encoder lacks",
    ),
    "a configuration of nonsense": (
        lambda at: change(at / "unet/config.json", lambda config: config.update(block_out_channels="many")),
        "its unet cannot be made of its config.json",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_refused_with_the_part_and_the_reason(
    data: Path, folder: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, reason = BROKEN[case]
    damage(folder)
    assert main(["add", str(folder), "--family", "stable-diffusion"]) == 1
    said = capsys.readouterr().err
    assert f"{folder} cannot be added: " in said and reason in said and said.count("\n") == 1
    assert not (data / "catalog.toml").exists()


def test_the_list_tells_of_a_folder_that_broke_later(
    data: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", str(folder)]) == 0
    cut_off(folder)
    assert main(["list"]) == 0
    assert "tiny: CANNOT BE USED: its unet has weights that cannot be used" in capsys.readouterr().out


def test_older_names_of_a_vae_fit(data: Path, folder: Path) -> None:
    """Repositories of SD 1.x have the names that diffusers gave to the VAE's attention before 0.15."""
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(weights: dict[str, object]) -> None:
        for name in [name for name in weights if ".attentions." in name]:
            for new, old in older.items():
                if new in name:
                    weights[name.replace(new, old)] = weights.pop(name)

    change(folder / f"vae/{WEIGHTS}", rename)
    assert main(["add", str(folder)]) == 0
    assert "tiny" in Catalog.load(data / "catalog.toml")


UNET_AND_VAE = (
    "model.diffusion_model.out.2.weight",
    "model.diffusion_model.time_embed.0.weight",
    "first_stage_model.decoder.mid.attn_1.k.weight",
)


@pytest.mark.parametrize(("number", "names"), [(SD1, UNET_AND_VAE), (SD2, ()), (SDXL, ())])
def test_published_files_are_whole_only_with_all_tensors(
    tmp_path: Path, number: int, names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", str(build_published_file(tmp_path / "whole.safetensors", number))]) == 0
    shapes = published_shapes(number)
    text = next(each for each in shapes if each.startswith(("cond_stage_model.", "conditioner.")) and "mlp" in each)
    for name in (text, *names):
        less = {each: shape for each, shape in shapes.items() if each != name}
        assert main(["add", str(write_sparse(tmp_path / "less.safetensors", less, "F16"))]) == 1
        assert "less.safetensors cannot be added: its " in (said := capsys.readouterr().err) and " lacks " in said
        other = {**shapes, name: [shapes[name][0] + 1, *shapes[name][1:]]}
        assert main(["add", str(write_sparse(tmp_path / "other.safetensors", other, "F16"))]) == 1
        assert "other.safetensors cannot be added: its " in (said := capsys.readouterr().err) and "shape" in said


def test_a_file_is_compared_with_its_configuration(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = build_tiny_file(tmp_path / "one.safetensors", whole)
    change(file, lambda weights: weights.pop("model.diffusion_model.out.2.bias"))
    assert main(["add", str(file), "--config", str(whole)]) == 1
    assert "one.safetensors cannot be added: its unet lacks" in capsys.readouterr().err

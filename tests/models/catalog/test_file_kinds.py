"""What a file is, told by its tensors: each kind in each of its layouts, and files that are something else."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.catalog.auxiliary import discover
from models.catalog.families import FLUX, SD3, SDXL, SDXL_REFINER, STABLE_DIFFUSION
from models.catalog.file_kinds import (
    CHECKPOINT,
    CONTROLNET,
    DENOISER,
    EMBEDDING,
    LORA,
    OTHER,
    TEXT_ENCODER,
    UNKNOWN,
    UPSCALER,
    VAE,
    FileKind,
    kind_of,
)
from tests import weight_files
from tests.models.diffusion.upscaling.tiny_upscalers import TINY_UPSCALERS, write
from tests.tiny import build_tiny_controlnet, build_tiny_file, build_tiny_lora, build_tiny_sd, build_tiny_sdxl
from tests.weight_files import ATTENTION, BIG_G, CLIP_L, OPEN_CLIP, SD1, checkpoint, safetensors

SD2_TEXT = "cond_stage_model.model.ln_final.bias"
Shapes = Mapping[str, list[int]]


def kind(path: Path, shapes: Shapes, **options: object) -> FileKind:
    path.write_bytes(safetensors(shapes, **options))  # type: ignore[arg-type]
    return kind_of(path)


def doubled(name: str, width: int) -> dict[str, list[int]]:
    """The two halves of a LoRA's update in diffusers' names."""
    return {f"{name}.lora_A.weight": [4, width], f"{name}.lora_B.weight": [width, 4]}


KINDS: dict[str, tuple[Shapes, str, str | None, tuple[str, ...]]] = {
    "SD 1": (SD1, CHECKPOINT, STABLE_DIFFUSION, ("SD 1.x",)),
    "SD 1 inpainting": (checkpoint("cond_stage_model.x", 768, 9), CHECKPOINT, STABLE_DIFFUSION,
                        ("SD 1.x", "inpainting")),
    "SD 1 with EMA": ({**SD1, "model_ema.decay": [1]}, CHECKPOINT, STABLE_DIFFUSION, ("SD 1.x",)),
    "SD 2": (checkpoint(SD2_TEXT, 1024), CHECKPOINT, STABLE_DIFFUSION, ("SD 2.x",)),
    "SDXL": ({**checkpoint(BIG_G, 2048), CLIP_L: [1]}, CHECKPOINT, SDXL, ()),
    "SDXL v": ({**checkpoint(BIG_G, 2048), "v_pred": [0]}, CHECKPOINT, SDXL, ("v-prediction",)),
    "refiner": (checkpoint(OPEN_CLIP, 1280), CHECKPOINT, SDXL_REFINER, ()),
    "FLUX": ({"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": [1], "text_encoders.clip_l.x": [1],
              "vae.decoder.conv_in.weight": [1, 16, 1, 1]}, CHECKPOINT, FLUX, ()),
    "SD 3": ({"model.diffusion_model.joint_blocks.0.x": [1], "text_encoders.clip_l.x": [1],
              "first_stage_model.decoder.conv_in.weight": [1, 16, 1, 1]}, CHECKPOINT, SD3, ()),
    "LoRA of kohya": ({"lora_unet_down_blocks_0_attn2_to_k.lora_down.weight": [4, 768],
                       "lora_unet_down_blocks_0_attn2_to_k.lora_up.weight": [320, 4],
                       "lora_unet_down_blocks_0_attn2_to_k.alpha": [1]}, LORA, STABLE_DIFFUSION, ("SD 1.x",)),
    "LoRA of SD 2": (doubled("unet.x.attn2.to_k", 1024), LORA, STABLE_DIFFUSION, ("SD 2.x",)),
    "LoRA of SDXL": (doubled("unet.x.attn2.to_k", 2048), LORA, SDXL, ()),
    "VAE": (weight_files.VAE, VAE, None, ("4 channels of latents",)),
    "VAE with a prefix": ({f"first_stage_model.{name}": shape for name, shape in weight_files.VAE.items()}, VAE, None,
                          ("4 channels of latents",)),
    "VAE of FLUX": ({**weight_files.VAE, "decoder.conv_in.weight": [1, 16, 1, 1]}, VAE, None,
                    ("16 channels of latents",)),
    "embedding of A1111": ({"emb_params": [2, 768]}, EMBEDDING, STABLE_DIFFUSION, ("SD 1.x",)),
    "embedding of SD 2": ({"emb_params": [2, 1024]}, EMBEDDING, STABLE_DIFFUSION, ("SD 2.x",)),
    "embedding of SDXL": ({"clip_l": [2, 768], "clip_g": [2, 1280]}, EMBEDDING, SDXL, ()),
    "embedding of diffusers": ({"<cat-toy>": [1, 768]}, EMBEDDING, STABLE_DIFFUSION, ("SD 1.x",)),
    "embedding of another width": ({"emb_params": [2, 32]}, EMBEDDING, None, ("width 32",)),
    "ControlNet of diffusers": (weight_files.CONTROLNET, CONTROLNET, STABLE_DIFFUSION, ("SD 1.x",)),
    "ControlNet of its authors": ({"control_model.input_hint_block.0.weight": [1],
                                   "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [1, 768]},
                                  CONTROLNET, STABLE_DIFFUSION, ("SD 1.x",)),
    "ControlNet without a prefix": ({"zero_convs.0.0.weight": [1], "input_blocks.0.0.weight": [1, 4, 1, 1]},
                                    CONTROLNET, None, ()),
    "ESRGAN": (weight_files.ESRGAN, UPSCALER, None, ()),
    "Real-ESRGAN": ({"conv_first.weight": [1], "body.0.rdb1.conv1.weight": [1]}, UPSCALER, None, ()),
}  # fmt: skip


@pytest.mark.parametrize("case", KINDS)
def test_each_kind(tmp_path: Path, case: str) -> None:
    shapes, expected, family, details = KINDS[case]
    found = kind(tmp_path / "file.safetensors", shapes)
    assert (found.kind, found.family, found.details, found.problem) == (expected, family, details, None)


@pytest.mark.parametrize(("dtype", "said"), [
    ("F16", ()), ("BF16", ()), ("F8_E4M3", ("float8_e4m3fn",)), ("F8_E5M2", ("float8_e5m2",)),
])  # fmt: skip
def test_weights_of_few_bits(tmp_path: Path, dtype: str, said: tuple[str, ...]) -> None:
    assert kind(tmp_path / "file.safetensors", SD1, dtype=dtype).details == ("SD 1.x", *said)


@pytest.mark.parametrize(("said", "details"), [("v", ("SD 2.x", "v-prediction")), ("epsilon", ("SD 2.x",))])
def test_the_prediction_that_a_trainer_wrote(tmp_path: Path, said: str, details: tuple[str, ...]) -> None:
    shapes = checkpoint(SD2_TEXT, 1024)
    found = kind(tmp_path / "file.safetensors", shapes, metadata={"modelspec.prediction_type": said})
    assert found.details == details


FLUX_BLOCKS = {"transformer_blocks.0.norm1.linear.bias": [1], "single_transformer_blocks.0.norm.linear.bias": [1]}
ALONE: dict[str, tuple[Shapes, str]] = {
    "UNet": ({ATTENTION: [1, 768], "input_blocks.0.0.weight": [1, 4, 1, 1]}, "(stable-diffusion, SD 1.x)"),
    "UNet of diffusers": (
        {"down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": [1, 2048], "time_embedding.x": [1]},
        "(sdxl)",
    ),
    "FLUX": ({"double_blocks.0.img_attn.qkv.weight": [1]}, "(flux)"),
    "FLUX in diffusers": ({**FLUX_BLOCKS, "time_text_embed.x": [1]}, "(flux)"),
}  # fmt: skip


@pytest.mark.parametrize("case", ALONE)
def test_a_denoiser_alone_tells_its_family(tmp_path: Path, case: str) -> None:
    shapes, words = ALONE[case]
    found = kind(tmp_path / "file.safetensors", shapes)
    assert (str(found), found.problem) == (f"a denoiser alone {words}", None)


def test_another_transformer_of_diffusers_is_refused(tmp_path: Path) -> None:
    """FLUX.2 has blocks of the same names."""
    found = kind(tmp_path / "file.safetensors", {**FLUX_BLOCKS, "time_guidance_embed.x": [1], "adaln_single.x": [1]})
    assert found.problem is not None


REFUSED: dict[str, tuple[Shapes, str, str]] = {
    "LoHa": ({"lora_unet_x.hada_w1_a": [4, 4], "lora_unet_x.hada_w2_a": [4, 4]}, LORA, "it is a LoHa"),
    "LoKr": ({"lora_unet_x.lokr_w1": [4, 4]}, LORA, "it is a LoKr"),
    "DoRA": ({**doubled("unet.x", 8), "unet.x.dora_scale": [8]}, LORA, "it is a DoRA"),
    "full difference": ({"lora_unet_x.diff": [4, 4]}, LORA, "full or (IA)3"),
    "UNet": ({"model.diffusion_model.input_blocks.0.0.weight": [1, 4, 1, 1]}, DENOISER, "of no supported family"),
    "UNet of diffusers": (
        {"down_blocks.0.x": [1], "time_embedding.linear_1.weight": [1]},
        DENOISER,
        "of no supported family",
    ),
    "UNet of pix2pix": (
        {name: shape for name, shape in checkpoint("x", 768, 8).items() if name.startswith("model.")},
        DENOISER,
        "takes 8 channels",
    ),
    "CLIP": ({"text_model.encoder.layers.0.mlp.fc1.bias": [1]}, TEXT_ENCODER, "text encoder alone"),
    "OpenCLIP": ({"transformer.resblocks.0.ln_1.bias": [1]}, TEXT_ENCODER, "text encoder alone"),
    "T5": ({"encoder.block.0.layer.0.SelfAttention.q.weight": [1]}, TEXT_ENCODER, "text encoder alone"),
    "no VAE": ({name: shape for name, shape in SD1.items() if "first_stage" not in name}, CHECKPOINT, "without a VAE"),
    "pix2pix": (checkpoint("cond_stage_model.x", 768, 8), CHECKPOINT, "takes 8 channels"),
    "fp8 with scales": ({**SD1, "model.diffusion_model.scaled_fp8": [0]}, CHECKPOINT, "scales of their own"),
    "another family": (
        {"model.diffusion_model.x": [1], "text_encoders.qwen.x": [1]},
        CHECKPOINT,
        "no supported family",
    ),
    "IP-Adapter": ({"image_proj.proj.weight": [1], "ip_adapter.1.to_k_ip.weight": [1]}, OTHER, "an IP-Adapter"),
    "motion module": ({"down_blocks.0.motion_modules.0.x": [1]}, OTHER, "motion module"),
    "T2I-Adapter": ({"adapter.body.0.resnets.0.block1.weight": [1]}, OTHER, "a T2I-Adapter"),
    "union ControlNet": ({**weight_files.CONTROLNET, "task_embedding": [6, 8]}, OTHER, "a union ControlNet"),
    "LLLite": ({"lllite_unet_x.down.0.weight": [1]}, OTHER, "LLLite"),
    "something": ({"layer.weight": [1], "layer.bias": [1]}, UNKNOWN, "its first tensor is 'layer.weight'"),
    "a lone matrix": ({"classifier.weight": [10, 768]}, UNKNOWN, "no known kind"),
    "FLUX.2": (
        {"double_blocks.0.img_attn.qkv.weight": [1], "double_stream_modulation_img.lin.weight": [1]},
        OTHER,
        "FLUX.2",
    ),
    "Chroma": (
        {"double_blocks.0.img_attn.qkv.weight": [1], "distilled_guidance_layer.in_proj.bias": [1]},
        OTHER,
        "Chroma",
    ),
    "TAESD": ({"decoder.layers.0.weight": [1]}, OTHER, "a tiny VAE"),
    "nothing": ({}, UNKNOWN, "holds no tensors"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_named(tmp_path: Path, case: str) -> None:
    shapes, expected, reason = REFUSED[case]
    found = kind(tmp_path / "file.safetensors", shapes)
    assert found.kind == expected
    assert reason in str(found.problem)


SDXL_FILE = {**checkpoint(BIG_G, 2048), CLIP_L: [1]}
UNCONFIGURED: dict[str, Shapes] = {
    "a distilled UNet": {name: shape for name, shape in SDXL_FILE.items() if ".transformer_blocks.9." not in name},
    "a deeper UNet": {**SD1, "model.diffusion_model.middle_block.1.transformer_blocks.1.attn2.to_k.weight": [1, 768]},
    "another text encoder": {name: [1, 48] if "attn2" in name else shape for name, shape in SD1.items()},
}


@pytest.mark.parametrize("case", UNCONFIGURED)
def test_a_checkpoint_of_an_unknown_architecture_needs_a_configuration(tmp_path: Path, case: str) -> None:
    found = kind(tmp_path / "file.safetensors", UNCONFIGURED[case])
    assert found.kind == CHECKPOINT and found.problem is None
    assert "its architecture is unknown" in str(found.configuration_problem)
    assert kind(tmp_path / "known.safetensors", SDXL_FILE).configuration_problem is None


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('a pickle ran code')",)


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "its file is empty"),
    "cut": (safetensors(SD1, missing=3), "incomplete"),
    "cut in its header": (safetensors(SD1)[:60], "incomplete"),
    "web page": (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n", "a text and not weights"),
    "an error of a site": (b'{"error": "not found"}', "a text and not weights"),
    "pickle": (pickle.dumps(Bomb(), 2), "a pickle"),
    "zip of a pickle": (b"PK\3\4" + bytes(99), "a pickle"),
    "noise": (bytes(range(256)), "no .safetensors file"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_weights_is_named(tmp_path: Path, case: str) -> None:
    data, reason = BROKEN[case]
    file = tmp_path / "file.safetensors"
    file.write_bytes(data)
    found = kind_of(file)
    assert found.kind == UNKNOWN and reason in str(found.problem)


def test_a_file_that_is_away_and_one_that_changes(tmp_path: Path) -> None:
    file = tmp_path / "file.safetensors"
    assert "No such file" in str(kind_of(file).problem)
    assert kind(file, weight_files.VAE).kind == VAE
    assert kind(file, weight_files.ESRGAN).kind == UPSCALER


@pytest.mark.parametrize(("table", "shapes", "problem"), [
    ("embeddings", weight_files.LORA, "it is a LoRA"), ("controlnets", weight_files.VAE, "it is a VAE"),
    ("upscalers", SD1, "it is a checkpoint"), ("loras", SD1, "it is a whole checkpoint"),
    ("loras", weight_files.EMBEDDING, "it is a textual-inversion embedding"),
    ("embeddings", {"x": [1]}, None), ("upscalers", weight_files.ESRGAN, None), ("preprocessors", SD1, None),
    ("controlnets", weight_files.CONTROLNET, None),
])  # fmt: skip
def test_a_file_in_the_wrong_folder_is_named(tmp_path: Path, table: str, shapes: Shapes, problem: str | None) -> None:
    folder = tmp_path / table
    folder.mkdir()
    kind(folder / "one.safetensors", shapes)
    found = discover(folder)["one"].problem()
    assert found is None if problem is None else str(found).startswith(problem)


# Files as libraries write them


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("name", TINY_UPSCALERS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_upscalers(tmp_path: Path, name: str, suffix: str) -> None:
    file = write(TINY_UPSCALERS[name][0], tmp_path / f"file{suffix}")
    assert kind_of(file) == FileKind(UPSCALER)


def test_an_upscaler_in_the_older_format_of_torch(tmp_path: Path) -> None:
    weights = {name: torch.zeros(1) for name in weight_files.ESRGAN}
    torch.save(weights, tmp_path / "file.pth", _use_new_zipfile_serialization=False)
    assert kind_of(tmp_path / "file.pth") == FileKind(UPSCALER)


def test_another_pickle_is_never_run(tmp_path: Path) -> None:
    torch.save({name: torch.zeros(1) for name in SD1}, tmp_path / "model.pth")
    assert (found := kind_of(tmp_path / "model.pth")).kind == CHECKPOINT
    assert "convert it to .safetensors" in str(found.problem)
    for suffix in (".pth", ".pt", ".ckpt", ".bin"):
        (tmp_path / f"bomb{suffix}").write_bytes(pickle.dumps(Bomb()))
        assert "convert it" in str(kind_of(tmp_path / f"bomb{suffix}").problem)


def test_pipelines_and_their_parts(tmp_path: Path) -> None:
    sd, sdxl = build_tiny_sd(tmp_path / "sd"), build_tiny_sdxl(tmp_path / "sdxl", second_width=48)
    weights = "diffusion_pytorch_model.safetensors"
    save_file({"emb_params": torch.zeros(1, 768)}, tmp_path / "embedding.safetensors")
    expected = {
        build_tiny_file(tmp_path / "sd.safetensors", sd): (CHECKPOINT, STABLE_DIFFUSION),
        build_tiny_file(tmp_path / "sdxl.safetensors", sdxl): (CHECKPOINT, SDXL),
        build_tiny_lora(tmp_path / "lora.safetensors", sd): (LORA, None),
        build_tiny_lora(tmp_path / "kohya.safetensors", sdxl, kohya=True): (LORA, SDXL),
        build_tiny_controlnet(tmp_path / "controlnet", sd) / weights: (CONTROLNET, None),
        sd / "vae" / weights: (VAE, None),
        sd / "unet" / weights: (DENOISER, None),
        sd / "text_encoder" / "model.safetensors": (TEXT_ENCODER, None),
        tmp_path / "embedding.safetensors": (EMBEDDING, STABLE_DIFFUSION),
    }
    found = {file: kind_of(file) for file in expected}
    assert {file: (each.kind, each.family) for file, each in found.items()} == expected


def test_a_named_pipe_is_not_opened(tmp_path: Path) -> None:
    for suffix in (".safetensors", ".pth"):
        pipe = tmp_path / f"pipe{suffix}"
        os.mkfifo(pipe)
        assert kind_of(pipe).problem == "it is no regular file"


NO_VECTORS: dict[str, tuple[Shapes, str, str]] = {
    "none": ({"emb_params": [0, 768]}, "F32", "it has 0 vectors, and from 1 to 75 fit into a prompt"),
    "too many": ({"emb_params": [10_000, 768]}, "F32", "it has 10000 vectors, and from 1 to 75"),
    "none of diffusers": ({"<cat>": [0, 768]}, "F32", "it has 0 vectors"),
    "integers": ({"emb_params": [2, 768]}, "I64", "its vectors are of the type I64, and not of floating-point"),
    "integers of SDXL": ({"clip_l": [2, 768], "clip_g": [2, 1280]}, "I64", "its vectors are of the type I64"),
    "unlike numbers": ({"clip_l": [2, 768], "clip_g": [3, 1280]}, "F32", "different numbers of vectors: 2, 3"),
    "a cube": ({"emb_params": [2, 3, 768]}, "F32", "its tensors have the shapes [2, 3, 768], and are no vectors"),
}


@pytest.mark.parametrize("case", NO_VECTORS)
def test_an_embedding_of_no_vectors_is_refused(tmp_path: Path, case: str) -> None:
    shapes, dtype, reason = NO_VECTORS[case]
    (tmp_path / "embeddings").mkdir()
    found = kind(tmp_path / "embeddings/word.safetensors", shapes, dtype=dtype)
    assert found.kind == EMBEDDING and found.problem is not None and reason in found.problem
    assert discover(tmp_path / "embeddings")["word"].problem() == found.problem

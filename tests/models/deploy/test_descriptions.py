"""What a package says about its model, beside its graphs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from models.catalog.catalog import Defaults
from models.catalog.families import SDXL
from models.catalog.vision import VisionSpec
from models.deploy.descriptions import TOKENIZER, drawing_description, vision_description
from models.diffusion.checkpoint_loading import load_checkpoint
from models.vision.finetuning.saving import CARD
from models.vision.model import load_vision_model
from tests.models.diffusion.rig import CPU, spec_of
from tests.models.vision.rig import TINY, save, save_naflex
from tests.tiny import build_tiny_house, build_tiny_inpaint, build_tiny_sd, build_tiny_sdxl

Build = Callable[[Path], Path]


def test_a_drawing_model_is_described_with_its_defaults_and_its_tokenizer(tmp_path: Path):
    defaults = Defaults(sampler="DDIM", num_inference_steps=9, guidance_scale=2.5, width=96, negative_prompt="a dog")
    checkpoint = load_checkpoint(spec_of(build_tiny_house(tmp_path / "model"), defaults=defaults), CPU)
    written = json.loads((tmp_path / "model" / "scheduler" / "scheduler_config.json").read_text())
    (tmp_path / "package").mkdir()
    found = drawing_description(checkpoint, tmp_path / "package")
    assert found is not None
    assert found.pop("scheduler") == {name: value for name, value in written.items() if name[0] != "_"} | {
        name: found_value for name, found_value in checkpoint.pipeline.scheduler.config.items()
        if name[0] == "_" and name != "_use_default_values"
    }  # fmt: skip
    assert found == {
        "sampler": "DDIM", "steps": 9, "guidance_scale": 2.5, "width": 96, "height": 512, "negative_prompt": "a dog",
        "size_multiple": 8, "latent_channels": 12, "scale_factor": 8, "scaling_factor": 1.0, "shift_factor": 0.0,
        "tokenizer": TOKENIZER, "tokens": 24, "pad_id": 0, "start_id": 2, "end_id": 3, "uses_mask": True,
    }  # fmt: skip
    assert Tokenizer.from_file(str(tmp_path / "package" / TOKENIZER)).get_vocab_size() > 0
    json.dumps(found)


def test_settings_that_the_checkpoint_leaves_out_stay_left_out(tmp_path: Path):
    folder = build_tiny_sd(tmp_path / "model")
    file = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text())
    del config["timestep_spacing"]
    file.write_text(json.dumps(config))
    found = drawing_description(load_checkpoint(spec_of(folder), CPU), tmp_path)
    assert found is not None
    assert "timestep_spacing" not in found["scheduler"]
    assert found["scheduler"]["steps_offset"] == 1


@pytest.mark.parametrize(("build", "family"), [
    (build_tiny_sdxl, SDXL), (build_tiny_inpaint, "stable-diffusion"),
    (lambda folder: build_tiny_sd(folder, time_cond_proj_dim=16), "stable-diffusion"),
], ids=["two text encoders", "a mask", "distilled"])  # fmt: skip
def test_what_the_runtime_cannot_draw_with_has_no_description(tmp_path: Path, build: Build, family: str):
    checkpoint = load_checkpoint(spec_of(build(tmp_path / "model"), family=family), CPU)
    assert drawing_description(checkpoint, tmp_path) is None
    assert not (tmp_path / TOKENIZER).exists()


def test_a_vision_model_is_described_with_its_preprocessing_and_its_labels(tmp_path: Path):
    folder = save(TINY, tmp_path / "model", num_classes=3)
    (tmp_path / "labels.txt").write_text("cat\ndog\nbird\n")
    spec = VisionSpec(name="tiny", folder=folder, labels=tmp_path / "labels.txt")
    found = vision_description(load_vision_model(spec, CPU))
    assert found is not None
    assert found["labels"] == [["cat", "cat"], ["dog", "dog"], ["bird", "bird"]]
    assert (found["outputs"], found["multi_label"], found["crop_mode"]) == (["logits", "pooled"], False, "center")
    assert found == json.loads(json.dumps(found))


def test_a_data_card_says_whether_classes_are_independent(tmp_path: Path):
    folder = save(TINY, tmp_path / "model")
    (folder / CARD).write_text('{"multi_label": true}')
    found = vision_description(load_vision_model(VisionSpec(name="tiny", folder=folder), CPU))
    assert found is not None and found["multi_label"] is True


def test_a_model_that_keeps_the_aspect_has_no_description(tmp_path: Path):
    model = load_vision_model(VisionSpec(name="tiny", folder=save_naflex(tmp_path / "model")), CPU)
    assert vision_description(model) is None

"""Always-on scripts that change nothing never stop an image, and scripts that would change it do."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.jobs.checks import Problems
from service.api.sdapi.scripts import check_scripts, repeated_fields

ADETAILER = {"ad_model": "face_yolov8n.pt", "ad_confidence": 0.3}
OFF = {
    "API payload": [], "Comments": [], "extra options": [], "Hypertile": [], "never oom integrated": [False, True],
    "Tiled VAE": [True, 1024, 96], "Refiner": [False, "", 0.8], "Seed": [1, True, 2, 0, 0, 0],
    "reactor": [None, False, "0", "0", "inswapper_128.onnx", "CodeFormer", 1, True, "None", 1, 2, False, True],
    "ReActor": ["aGVsbG8=", False, "0", "0"], "roop": ["", False], "ReActor enabled as text": ["", "False", "0"],
    "ADetailer": [False, False, ADETAILER], "adetailer": [True, False, {"ad_model": "None"}, {"ad_model": "None"}],
    "ADetailer tabs": [True, True, {**ADETAILER, "ad_tab_enable": False}], "ADetailer object": {"ad_model": "None"},
    "AnimateDiff": [{"model": "mm_sd15_v3", "enable": False, "video_length": 16}], "animatediff": [False],
    "Dynamic Prompts v2.17.1": [True, False, 1, False, False, False, 1.1, 1.5, 100, 0.7, False, False, True, False,
                                False, 0, "Gustavosta/MagicPrompt", ""],
    "dynamic prompts": [False, True, 1, True], "Soft Inpainting": [False, 1, 0.5, 4, 0, 0.5, 2],
    "Tiled Diffusion": [False, "MultiDiffusion", False, True, 1024, 1024, 96, 96, 48, 4, "None", 2],
    "DynamicThresholding (CFG-Fix) Integrated": [False, 7, 1, "Constant", 0, "Constant", 0, 1, "enable", "MEAN"],
    "FreeU Integrated (SD 1.x, SD 2.x, SDXL)": [False, 1.01, 1.02, 0.99, 0.95, 0, 1], "StyleAlign": [False, 1],
    "Kohya HRFix Integrated": [False, 3, 2, 0, 0.35, True, "bicubic", "bicubic"], "CFG Rescale": [0],
    "LoRA Block Weight": ["NONE:0,0,0", True, 1, ""], "Asymmetric tiling": [False, False, False, 0, -1],
    "nothing": None, "units": [{"enabled": False}, {}],
}  # fmt: skip
ON = {
    "reactor": [None, True, "0"], "ADetailer": [True, False, ADETAILER], "adetailer": [ADETAILER],
    "AnimateDiff": [{"model": "mm_sd15_v3", "enable": True}], "Soft Inpainting": [True, 1, 0.5, 4, 0, 0.5, 2],
    "Latent Mirroring": [1, 0, 0.25, False, False], "CFG Rescale": [0.7], "somebody's": ["a text"],
    "Dynamic Prompts": [True, False, 1, True], "FreeU": ["true", 1.01],
}  # fmt: skip


def problems_of(scripts: dict[str, object], prompt: str = "a cat") -> list[str]:
    problems = Problems()
    check_scripts(scripts, [prompt, ""], problems)
    return [problem.field for problem in problems.found]


@pytest.mark.parametrize("name", OFF)
def test_what_is_off_is_accepted(name):
    assert problems_of({name: {"args": OFF[name]}}) == problems_of({name: OFF[name]}) == []
    assert problems_of({name: {}}) == problems_of({name: None}) == []


@pytest.mark.parametrize("name", ON)
def test_what_is_on_is_refused(name):
    assert problems_of({name: {"args": ON[name]}}) == [f"alwayson_scripts.{name}"]


def test_a_template_needs_dynamic_prompts():
    assert problems_of({"Dynamic Prompts": [True, False, 1]}, "a {red|blue} cat") == [
        "alwayson_scripts.Dynamic Prompts"
    ]
    assert problems_of({"Dynamic Prompts": [True, False, 1]}, "a __colour__ cat") == [
        "alwayson_scripts.Dynamic Prompts"
    ]


@pytest.mark.parametrize(
    ("scripts", "fields"),
    [
        ({"Sampler": {"args": [4, "Euler", "Karras"]}}, {"steps": 4, "sampler_name": "Euler", "scheduler": "Karras"}),
        ({"sampler": [None, "", "None"]}, {}),
        ({"Seed": {"args": [7, False, 3, 0.5, 64, 64]}}, {"seed": 7}),
        ({"Seed": {"args": [7, True, 3, 0.5]}}, {"seed": 7, "subseed": 3, "subseed_strength": 0.5}),
        ({"Refiner": {"args": [False, "fine", 0.8]}}, {}),
        ({"Refiner": {"args": [True, "fine", 0.7]}}, {"refiner_checkpoint": "fine", "refiner_switch_at": 0.7}),
        ({"Seed": {"args": [["odd"], {}, "x"]}, "Refiner": 5, "Sampler": {"args": "x"}}, {}),
        ([], {}), (None, {}), ("x", {}),
    ],
)  # fmt: skip
def test_built_in_scripts_repeat_fields(scripts, fields):
    assert repeated_fields(scripts) == fields


TEXT = st.text("aN{_ \ud800\0", max_size=4) | st.sampled_from(["None", "false", "enabled", "ad_model"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)
slow_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = st.sampled_from(["Sampler", "Seed", "Refiner", "ADetailer", "Dynamic Prompts", "controlnet", "x"])


@slow_machine
@given(st.dictionaries(NAMES, JSON))
def test_no_script_is_a_surprise(scripts):
    assert set(repeated_fields(scripts)) <= {
        "steps", "sampler_name", "scheduler", "seed", "subseed", "subseed_strength", "seed_resize_from_w",
        "seed_resize_from_h", "refiner_checkpoint", "refiner_switch_at",
    }  # fmt: skip
    assert {field.split(".")[1] for field in problems_of(scripts)} <= set(scripts)


@slow_machine
@given(TEXT, st.lists(JSON, max_size=4))
def test_a_leading_false_is_off_under_any_name(name, rest):
    assert problems_of({f"my {name}": {"args": [False, *rest]}}) == []

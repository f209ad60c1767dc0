"""Tickets of every kind: images to start from, LoRAs, ControlNets, second passes, refiners, upscaling, faces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import Catalog, Defaults, Limits, ModelSpec
from models.errors import InvalidTicket
from models.jobs.params import (
    ASPECT_RATIOS,
    Control,
    DrawParams,
    DrawRequest,
    FaceRestoreRequest,
    FaceSwapRequest,
    JobRequest,
    LoraUse,
    Mask,
    Refiner,
    SecondPass,
    UpscaleParams,
    UpscaleRequest,
)
from models.jobs.tickets import complete, open_ticket

INPUT = f"input:{'0' * 64}"
URL = "https://example.org/a%20cat.png?x=1"


def extra(name: str, family: str | None = None, *aliases: str) -> AuxiliaryModel:
    return AuxiliaryModel(name=name, path=Path(f"/nowhere/{name}-file.safetensors"), family=family, aliases=aliases)


def named(*extras: AuxiliaryModel) -> dict[str, AuxiliaryModel]:
    return {each.name: each for each in extras}


SD = ModelSpec(name="sd", family="stable-diffusion", folder=Path("/nowhere"))
XL = replace(SD, name="xl", family="sdxl", aliases=("big",), defaults=Defaults(width=1024, height=1024))
FLUX = replace(XL, name="flux", family="flux", aliases=(), defaults=Defaults(sampler="Euler", width=1024, height=1024))
CATALOG = Catalog(
    {
        "sd": SD,
        "xl": XL,
        "fine": replace(XL, name="fine", family="sdxl-refiner", aliases=("xl-refiner",)),
        "flux": FLUX,
    },
    default="sd",
    extras={
        "loras": named(
            extra("film", None, "Film Look"), extra("xl-film", "sdxl"), extra("sd-film", "stable-diffusion")
        ),
        "controlnets": named(extra("canny", "stable-diffusion", "control_canny [d14c016b]"), extra("xl-canny", "sdxl")),
        "upscalers": named(extra("RealESRGAN_x4plus")),
        "preprocessors": named(extra("depth")),
    },
)


def drawn(**choices: Any) -> DrawParams:
    return complete(DrawRequest(**{"prompt": "a cat", **choices}), CATALOG)


def refused(request: JobRequest, catalog: Catalog = CATALOG) -> dict[str, str]:
    with pytest.raises(InvalidTicket) as caught:
        complete(request, catalog)
    fields = [problem.field for problem in caught.value.problems]
    assert len(set(fields)) == len(fields)
    return {problem.field: problem.message for problem in caught.value.problems}


def problems(**choices: Any) -> dict[str, str]:
    return refused(DrawRequest(**{"prompt": "a cat", **choices}))


# Images to start from


def test_each_kind_has_its_own_usual_strength() -> None:
    assert drawn(kind="img2img", image=INPUT).strength == 0.75
    assert drawn(kind="inpaint", image=INPUT, mask=Mask(image=URL)).strength == 1.0
    assert drawn(kind="img2img", image=INPUT, strength=1).strength == 1.0


def test_a_kind_says_what_it_lacks() -> None:
    assert problems(kind="img2img") == {"image": "is required for kind img2img"}
    assert set(problems(kind="inpaint")) == {"image", "mask"}
    assert set(problems(kind="inpaint", image=INPUT)) == {"mask"}


def test_a_kind_says_which_other_one_to_use() -> None:
    found = problems(image=INPUT, strength=0.5, resize_mode="fill", mask=Mask(image=INPUT))
    assert {field: message[-7:] for field, message in found.items()} == {
        "image": "img2img", "strength": "img2img", "resize_mode": "img2img", "mask": "inpaint",
    }  # fmt: skip
    assert problems(kind="img2img", image=INPUT, mask=Mask(image=INPUT))["mask"].endswith("use kind inpaint")


def test_effective_parameters_can_be_asked_for_again() -> None:
    params = drawn(seed=3, loras=(LoraUse(name="film", weight=0.5),), second_pass=SecondPass())
    given = {name: getattr(params, name) for name in params.to_payload()}
    assert complete(DrawRequest(**given), CATALOG) == params


@pytest.mark.parametrize("strength", [0, 0.0001, 0.04, 0.5, 1])
@pytest.mark.parametrize("steps", [1, 2, 20])
@pytest.mark.parametrize("kind", ["img2img", "inpaint"])
def test_a_strength_of_less_than_a_step_is_kept(kind: str, strength: float, steps: int) -> None:
    mask = Mask(image=INPUT) if kind == "inpaint" else None
    choices = {"kind": kind, "image": INPUT, "mask": mask, "strength": strength, "num_inference_steps": steps}
    assert drawn(**choices).strength == strength


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_strength_is_from_0_to_1(strength: float) -> None:
    assert problems(kind="img2img", image=INPUT, strength=strength)["strength"] == "must be from 0 to 1"


@pytest.mark.parametrize(
    "source",
    [URL, INPUT, "http://example.org", "http://u:p@example.org/", "https://example.org/ü ö",
     "image:0b7c2f0e-6f0e-4b43-9a55-3f6a3e1f7a11"],
)  # fmt: skip
def test_a_source_is_kept(source: str) -> None:
    params = drawn(kind="img2img", image=source, controls=(Control(model="canny", image=source),))
    assert list(params.sources) == [source, source]


@pytest.mark.parametrize(
    "source",
    ["", "cat.png", "/etc/passwd", "file:///etc/passwd", "ftp://example.org/x", "input:0", "image:../../x", "https://",
     "https:///x", "http://u:p@/", "http://example.org:99999/", "http://[::1/", "https://exam ple.org/",
     "http://example.org/\r\nX: y", "https://example.org/" + "x" * 5000,
     "data:image/png;base64,"],
)  # fmt: skip
def test_what_is_no_source_is_refused(source: str) -> None:
    found = problems(
        kind="inpaint", image=INPUT, mask=Mask(image=source), controls=(Control(model="canny", image=source),)
    )
    assert set(found) == {"mask.image", "controls[0].image"}


def test_samplers_that_cannot_start_in_the_middle_are_refused() -> None:
    assert drawn(sampler="LMS").sampler == "LMS"
    assert "start from an image" in problems(kind="img2img", image=INPUT, sampler="LMS")["sampler"]
    assert "start from an image" in problems(sampler="LMS", second_pass=SecondPass())["second_pass"]
    assert "cannot be used" in problems(sampler="DPM adaptive")["sampler"]


def test_masks_are_checked_field_by_field() -> None:
    mask = Mask(image=INPUT, blur_px=257, padding_px=-1, fill="red")
    assert set(problems(kind="inpaint", image=INPUT, mask=mask, resize_mode="squeeze")) == {
        "mask.blur_px", "mask.padding_px", "mask.fill", "resize_mode",
    }  # fmt: skip


# Sizes and styles


@pytest.mark.parametrize("name", ASPECT_RATIOS)
def test_an_aspect_ratio_keeps_the_area_and_the_limits(name: str) -> None:
    across, down = ASPECT_RATIOS[name]
    for model, area in (("sd", 512 * 512), ("xl", 1024 * 1024)):
        params = drawn(model=model, aspect_ratio=name)
        assert params.width % 8 == params.height % 8 == 0
        assert params.width / params.height == pytest.approx(across / down, rel=0.03)
        assert params.width * params.height == pytest.approx(area, rel=0.03)
    small = Catalog({"xl": replace(XL, limits=Limits(max_px=1024))}, default="xl")
    params = complete(DrawRequest(prompt="a cat", aspect_ratio=name), small)
    assert max(params.width, params.height) <= 1024
    assert params.width / params.height == pytest.approx(across / down, rel=0.03)


SDXL_SIZES = (
    (512, 2048),
    (576, 1792),
    (640, 1536),
    (704, 1408),
    (768, 1344),
    (832, 1216),
    (896, 1152),
    (960, 1088),
    (1024, 1024),
)
"""Some of the sizes that SDXL was trained on: Podell et al. 2023, arXiv 2307.01952, appendix I."""


@pytest.mark.parametrize("size", SDXL_SIZES)
def test_sdxl_takes_the_sizes_that_it_was_trained_on(size: tuple[int, int]) -> None:
    for width, height in (size, size[::-1]):
        params = drawn(model="xl", width=width, height=height)
        assert (params.width, params.height) == (width, height)


def test_an_aspect_ratio_excludes_width_and_height() -> None:
    assert list(problems(aspect_ratio="1:1", width=512)) == ["aspect_ratio"]
    assert "16:9" in problems(aspect_ratio="2:1")["aspect_ratio"]
    narrow = Catalog({"sd": replace(SD, limits=Limits(min_px=400))}, default="sd")
    assert "below the 400 px" in refused(DrawRequest(prompt="x", aspect_ratio="21:9"), narrow)["aspect_ratio"]


def test_styles_are_known_by_name_and_alias() -> None:
    assert drawn(style_preset="anime").style_preset == "anime"
    assert drawn(style_preset="fantasty-art").style_preset == "fantasy-art"
    assert list(problems(style_preset="baroque")) == ["style_preset"]


# LoRAs


def test_loras_of_prompt_and_list_come_together_by_their_own_names() -> None:
    params = drawn(
        prompt="a cat <lora:Film Look:0.5>, sitting<lora:sd-film>",
        loras=(LoraUse(name="FILM-FILE.safetensors [0123]", weight=0.25), LoraUse(name="sd-film", weight=-2)),
    )
    assert params.prompt == "a cat , sitting"
    assert params.loras == (LoraUse(name="film", weight=0.75), LoraUse(name="sd-film", weight=-1.0))


def test_a_lora_may_have_another_weight_in_the_text_encoders() -> None:
    use = LoraUse(name="film", weight=0.25, text_encoder_weight=1)
    assert drawn(prompt="a <lora:film:0.5:0.7>", loras=(use,)).loras == (
        LoraUse(name="film", weight=0.95, text_encoder_weight=1.5),
    )
    one, two = (drawn(prompt=f"a <lora:film:0.5{more}>").to_payload()["loras"] for more in ("", ":1"))
    assert one == ({"name": "film", "weight": 0.5},)
    assert two == ({"name": "film", "weight": 1.0, "text_encoder_weight": 0.5},)
    assert drawn(prompt="a <lyco:film:0.5:0.5>").loras == (LoraUse(name="film", weight=0.5),)
    assert "loras" in problems(prompt="x <lora:film:11:1>")


@pytest.mark.parametrize(
    ("choices", "field", "words"),
    [
        ({"loras": (LoraUse(name="nobody"),)}, "loras[0].name", "film, xl-film, sd-film"),
        ({"loras": (LoraUse(name="film"), LoraUse(name="xl-film"))}, "loras[1].name", "made for models of sdxl"),
        ({"prompt": "x <lora:nobody>"}, "prompt", "no LoRA 'nobody'"),
        ({"prompt": "x <lora:film:20>"}, "loras", "'film' must be from -10 to 10"),
        ({"prompt": "x <lora:film:6>", "loras": (LoraUse(name="film", weight=6),)}, "loras", "is 12"),
        ({"loras": (LoraUse(name="film", weight=float("nan")),)}, "loras", "nan"),
        ({"loras": (LoraUse(name="film"),) * 8, "prompt": "x <lora:film>"}, "loras", "at most 8"),
        ({"negative_prompt": "<lora:film>"}, "negative_prompt", "put the tag into the prompt"),
    ],
)
def test_loras_that_cannot_be_used(choices: dict[str, Any], field: str, words: str) -> None:
    found = problems(**choices)
    assert list(found) == [field] and words in found[field]


# ControlNets


def test_a_controlnet_is_found_as_a1111_names_it() -> None:
    control = Control(model="control_canny [d14c016b]", preprocessor="canny", threshold_a=10, image=INPUT)
    assert drawn(controls=(control,)).controls == (replace(control, model="canny"),)
    assert drawn(kind="img2img", image=INPUT, controls=(Control(model="canny"),)).controls[0].image is None


@pytest.mark.parametrize(
    ("choices", "field", "words"),
    [
        ({"model": "nobody"}, "model", "there are: canny, xl-canny"),
        ({"model": "xl-canny"}, "model", "sdxl"),
        ({"image": None}, "image", "required"),
        ({"preprocessor": "cany"}, "preprocessor", "no preprocessor 'cany'"),
        ({"preprocessor": "openpose"}, "preprocessor", "not available"),
        ({"preprocessor": "segmentation"}, "preprocessor", "[preprocessors.segmentation]"),
        ({"preprocessor": "canny", "threshold_a": 256.0}, "threshold_a", "from 1 to 255"),
        ({"preprocessor": "none", "threshold_b": 1.0}, "threshold_b", "has no effect"),
        ({"weight": 2.1}, "weight", "from 0 to 2"),
        ({"start": 0.5, "end": 0.5}, "start", "below end"),
        ({"end": 1.1}, "end", "from 0 to 1"),
        ({"mode": "both"}, "mode", "balanced, prompt, control"),
        ({"resize_mode": "both"}, "resize_mode", "stretch, crop, fill"),
    ],
)
def test_controls_that_cannot_be_used(choices: dict[str, Any], field: str, words: str) -> None:
    good = Control(model="canny", image=INPUT)
    found = problems(controls=(good, replace(good, **choices)))
    assert list(found) == [f"controls[1].{field}"] and words in found[f"controls[1].{field}"]


def test_weights_of_preprocessors_are_looked_for_in_the_catalog() -> None:
    assert drawn(controls=(Control(model="canny", image=INPUT, preprocessor="depth"),))
    assert list(problems(controls=(Control(model="canny", image=INPUT),) * 5)) == ["controls"]


# Second pass and refiner


def test_a_second_pass_takes_the_steps_of_the_first() -> None:
    params = drawn(num_inference_steps=7, second_pass=SecondPass(scale=4))
    assert params.second_pass == SecondPass(scale=4, num_inference_steps=7)
    assert drawn(second_pass=SecondPass(num_inference_steps=3, upscaler="R-ESRGAN 4x+")).second_pass is not None


@pytest.mark.parametrize(
    ("choices", "field"),
    [
        ({"scale": 0.9}, "scale"),
        ({"scale": 4.1}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"upscaler": "LDSR"}, "upscaler"),
        ({"upscaler": "nobody"}, "upscaler"),
        ({"strength": -0.1}, "strength"),
        ({"num_inference_steps": 151}, "num_inference_steps"),
    ],
)
def test_second_passes_that_cannot_be_run(choices: dict[str, Any], field: str) -> None:
    assert list(problems(second_pass=SecondPass(**choices))) == [f"second_pass.{field}"]


def test_a_second_pass_may_reach_twice_the_models_largest_side() -> None:
    assert drawn(width=2048, second_pass=SecondPass(scale=2)).second_pass is not None
    assert "4096 x 4096" in problems(width=2048, second_pass=SecondPass(scale=2.1))["second_pass.scale"]
    assert list(problems(width=10**400, second_pass=SecondPass())) == ["width", "second_pass.scale"]


def test_a_refiner_goes_with_sdxl_alone() -> None:
    assert drawn(model="big", refiner=Refiner(model="xl-refiner")).refiner == Refiner(model="fine", start=0.8)
    assert drawn(model="xl", refiner=Refiner(model="big")).refiner == Refiner(model="xl", start=0.8)
    assert "has no effect" in problems(refiner=Refiner(model="fine"))["refiner"]
    assert "of the family stable-diffusion" in problems(model="xl", refiner=Refiner(model="sd"))["refiner.model"]
    found = problems(model="xl", refiner=Refiner(model="nobody", start=1.0))
    assert set(found) == {"refiner.model", "refiner.start"}


def test_what_a_family_cannot_do_is_refused() -> None:
    assert "cannot do kind txt2img" in problems(model="fine")["model"]
    found = problems(
        model="flux", negative_prompt="rain", clip_skip=2, sampler="DDIM", width=1000,
        controls=(Control(model="canny", image=INPUT),),
    )  # fmt: skip
    assert set(found) == {"negative_prompt", "clip_skip", "sampler", "width", "controls", "controls[0].model"}
    assert drawn(model="flux", aspect_ratio="4:7").width % 16 == 0
    assert "cannot compose" in problems(model="flux", prompt="a cat AND a dog")["prompt"]
    odd = Catalog({"odd": replace(SD, name="odd", family="kandinsky")}, default="odd")
    assert "kandinsky" in refused(DrawRequest(prompt="x"), odd)["model"]


# Other kinds


def test_an_upscale_is_completed() -> None:
    ticket = open_ticket(UpscaleRequest(image=INPUT), CATALOG, job_id="x", owner="me")
    assert (ticket.kind, ticket.params) == ("upscale", UpscaleParams(image=INPUT, scale=2, upscaler="Lanczos"))
    for name in ("R-ESRGAN 4x+", "r-esrgan 4X+", "realesrgan_x4plus"):
        params = complete(UpscaleRequest(image=INPUT, scale=4, upscaler=name), CATALOG)
        assert params == UpscaleParams(image=INPUT, scale=4, upscaler="RealESRGAN_x4plus")
    assert complete(UpscaleRequest(image=INPUT, upscaler="nearest"), CATALOG).upscaler == "Nearest"


def test_an_upscale_that_cannot_be_done() -> None:
    found = refused(UpscaleRequest(image="cat.png", scale=9, upscaler="SwinIR 4x"))
    assert set(found) == {"image", "scale", "upscaler"} and "needs weights" in found["upscaler"]


def test_faces_are_restored_where_the_weights_are_there() -> None:
    assert "not available" in refused(FaceRestoreRequest(image=INPUT))["kind"]
    able = Catalog({}, extras={"faces": named(extra("restorer"), extra("detector"))})
    ticket = open_ticket(FaceRestoreRequest(image=INPUT), able, job_id="x", owner="me")
    assert (ticket.kind, list(ticket.params.sources)) == ("face_restore", [INPUT])


def test_faces_are_never_swapped() -> None:
    assert "not available" in refused(FaceSwapRequest(source="x", target="y"))["kind"]

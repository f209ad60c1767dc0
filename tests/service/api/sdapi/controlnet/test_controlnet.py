"""The ControlNet extension: its units in requests, and its listings."""

from __future__ import annotations

import pytest

from tests.service.api.sdapi.sdapi_calls import image

IMAGE = image()


@pytest.mark.parametrize(
    ("unit", "effective"),
    [
        ({"image": IMAGE}, {"preprocessor": "none", "mode": "balanced", "resize_mode": "crop", "weight": 1}),
        ({"input_image": IMAGE, "module": "Canny", "threshold_a": 50, "threshold_b": 90, "guidance": 0.5},
         {"preprocessor": "canny", "threshold_a": 50, "threshold_b": 90, "end": 0.5}),
        ({"image": IMAGE, "mask": "", "module": "", "resize_mode": "", "control_mode": "", "hr_option": ""},
         {"preprocessor": "none", "mode": "balanced", "resize_mode": "crop"}),
        ({"image": {"image": IMAGE, "mask": None}, "module": "canny", "threshold_a": -1, "threshold_b": 5000},
         {"threshold_a": None, "threshold_b": None}),
        ({"image": IMAGE, "module": "none", "threshold_a": 64, "processor_res": 512, "pixel_perfect": True,
          "low_vram": True}, {"threshold_a": None}),
        ({"image": IMAGE, "module": "t2ia_color_grid", "resize_mode": 2, "control_mode": 1},
         {"preprocessor": "color", "resize_mode": "fill", "mode": "prompt"}),
        ({"image": IMAGE, "module": "invert (from white bg & black line)", "resize_mode": "Scale to Fit (Inner Fit)",
          "control_mode": "ControlNet is more important", "guidance_start": 0.25, "weight": 0.5},
         {"preprocessor": "invert", "resize_mode": "crop", "mode": "control", "start": 0.25, "weight": 0.5}),
    ],
)  # fmt: skip
def test_units_of_controlnet(cataloged, unit, effective):
    (model,) = cataloged.client.get("/controlnet/model_list").json()["model_list"]
    off = {"enabled": False, "model": "nobody's"}
    for name, script in (
        ("ControlNet", {"args": [off, {"model": model, **unit}]}),
        ("controlnet", [{"model": model, **unit}]),
    ):
        (control,) = cataloged.job(
            "txt2img", alwayson_scripts={name: script, "ADetailer": {"args": [False]}}
        ).params.controls
        assert control.model == "canny" and control.image.startswith("input:")
        assert {name: getattr(control, name) for name in effective} == effective


def test_a_unit_without_an_image_takes_the_one_to_start_from(cataloged):
    units = {"controlnet": {"args": [{"model": "control_v11p_sd15_canny [d14c016b]", "image": ""}]}}
    (control,) = cataloged.job("img2img", init_images=[IMAGE], alwayson_scripts=units).params.controls
    assert control.image is None


def test_modules_are_listed_with_their_thresholds(client):
    shown = client.get("/controlnet/module_list").json()
    assert "openpose" not in shown["module_list"] and set(shown["module_list"]) == set(shown["module_detail"])
    assert [slider["value"] for slider in shown["module_detail"]["canny"]["sliders"]] == [100, 200]
    assert client.get("/controlnet/settings").json() == {"control_net_unit_count": 4}

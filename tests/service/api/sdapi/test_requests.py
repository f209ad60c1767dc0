"""What A1111's clients send, and what the jobs are that come of it; nothing is drawn."""

from __future__ import annotations

import httpx
import pytest

from models.catalog.styles import STYLES
from service.api.app import create_app
from service.backbone.ledger import Ledger
from service.backbone.store import ImageStore
from tests.service.api.sdapi.sdapi_calls import Calls, image

IMAGE = image()


@pytest.fixture
def calls(client, worker, redis) -> Calls:
    return Calls(client, worker, redis)


@pytest.mark.parametrize(
    ("fields", "effective"),
    [
        ({"steps": 4, "cfg_scale": 6.5, "seed": 12, "width": 199, "height": 256.0},
         {"num_inference_steps": 4, "guidance_scale": 6.5, "seed": 12, "width": 192, "height": 256}),
        ({"steps": "4", "seed": "12", "width": None, "sampler_name": "", "sampler_index": None, "styles": None},
         {"num_inference_steps": 4, "seed": 12, "width": 128, "sampler": "DPM++ 2M"}),
        ({"sampler_name": "DPM++ 2M"}, {"sampler": "DPM++ 2M Karras"}),
        ({"sampler_name": "DPM++ 2M", "scheduler": "Uniform"}, {"sampler": "DPM++ 2M"}),
        ({"sampler_name": "DPM++ 2M Karras", "scheduler": "automatic"}, {"sampler": "DPM++ 2M Karras"}),
        ({"sampler_index": "k_euler_a", "scheduler": ""}, {"sampler": "Euler a"}),
        ({"sampler_name": "Euler", "sampler_index": "DDIM", "scheduler": "exponential"},
         {"sampler": "Euler Exponential"}),
        ({"styles": ["anime"]}, {"style_preset": "anime", "prompt": "a cat"}),
        ({"styles": ["", "None"]}, {"style_preset": None}),
        ({"override_settings": {"CLIP_stop_at_last_layers": 1.0, "sd_vae": "Automatic", "samples_save": False,
                                "sd_model_checkpoint": "house.safetensors"}},
         {"clip_skip": 1, "model": "house"}),
        ({"eta": 1, "s_noise": 0, "s_tmax": 99, "subseed": 4, "image_cfg_scale": 2, "script_args": [1], "comments": {},
          "url": "http://x", "script_name": "", "refiner_checkpoint": "None", "tiling": None}, {"refiner": None}),
        ({"enable_hr": False, "hr_upscaler": "Latent", "hr_prompt": "other", "denoising_strength": 0},
         {"second_pass": None}),
    ],
)  # fmt: skip
def test_what_clients_send_is_understood(calls, fields, effective):
    params = calls.job("txt2img", **fields).params
    assert {name: getattr(params, name) for name in effective} == effective


@pytest.mark.parametrize(
    ("fields", "effective"),
    [
        ({}, {"scale": 2, "strength": 0.75, "upscaler": "Lanczos", "num_inference_steps": 20}),
        ({"hr_upscaler": "None", "hr_second_pass_steps": 7, "hr_scale": 1.5, "denoising_strength": 0.4},
         {"scale": 1.5, "strength": 0.4, "upscaler": "Lanczos", "num_inference_steps": 7}),
        ({"hr_upscaler": "Nearest", "hr_resize_x": 200, "width": 160, "height": 80},
         {"scale": 1.25, "upscaler": "Nearest"}),
        ({"hr_resize_y": 192, "hr_resize_x": 192}, {"scale": 1.5}),
        ({"hr_sampler_name": "Use same sampler", "hr_scheduler": "Karras", "hr_checkpoint_name": "Use same checkpoint",
          "hr_prompt": "a cat", "scheduler": "karras", "sampler_name": "Euler"}, {"scale": 2}),
    ],
)  # fmt: skip
def test_the_hires_fix_is_a_second_pass(calls, fields, effective):
    second = calls.job("txt2img", enable_hr=True, **fields).params.second_pass
    assert {name: getattr(second, name) for name in effective} == effective


def test_several_styles_are_nested(calls):
    params = calls.job("txt2img", styles=["origami", "anime"], negative_prompt="rain").params
    inner = STYLES["origami"]
    assert params.style_preset == "anime"
    assert params.prompt == f"{inner.prefix} a cat, {inner.suffix}"
    assert params.negative_prompt == f"rain, {inner.negative}"


def test_seeds_follow_one_another(calls):
    records, answer = calls.jobs("/sdapi/v1/txt2img", 6, prompt="a cat", batch_size=3, n_iter=2, seed=2**32)
    assert sorted(record.params.seed for record in records) == [2**32 + index for index in range(6)]
    assert len({repr({**record.params.to_payload(), "seed": 0}) for record in records}) == 1
    assert len(answer["images"]) == 6
    drawn, _ = calls.jobs("/sdapi/v1/txt2img", 2, prompt="a cat", batch_size=2, seed=-1)
    assert abs(drawn[0].params.seed - drawn[1].params.seed) == 1


@pytest.mark.parametrize(
    ("fields", "effective"),
    [
        ({}, {"strength": 0.75, "resize_mode": "stretch", "mask": None}),
        ({"resize_mode": 1, "denoising_strength": 0.5}, {"strength": 0.5, "resize_mode": "crop"}),
        ({"resize_mode": 2, "initial_noise_multiplier": 1, "inpainting_fill": 2, "mask": ""},
         {"resize_mode": "fill", "mask": None}),
    ],
)  # fmt: skip
def test_an_image_to_start_from(calls, fields, effective):
    split = f"data:image/png;base64,{IMAGE[:40]}\n{IMAGE[40:]}\n"
    record = calls.job("img2img", init_images=[split], **fields)
    assert record.kind == "img2img" and record.params.image.startswith("input:")
    assert {name: getattr(record.params, name) for name in effective} == effective


def test_a_mask_and_all_that_belongs_to_it(calls):
    plain = calls.job("img2img", init_images=[IMAGE], mask=IMAGE)
    mask = plain.params.mask
    assert plain.kind == "inpaint" and mask.image == plain.params.image
    assert (mask.blur_px, mask.fill, mask.invert, mask.only_masked, mask.padding_px) == (4, "fill", False, True, 0)
    rich = {"mask_blur_x": 9, "mask_blur_y": 9, "inpainting_fill": 3, "inpainting_mask_invert": True,
            "inpaint_full_res": 0, "inpaint_full_res_padding": 12}  # fmt: skip
    mask = calls.job("img2img", init_images=[IMAGE], mask=image((16, 16)), **rich).params.mask
    assert (mask.blur_px, mask.fill, mask.invert, mask.only_masked, mask.padding_px) == (
        9, "latent_nothing", True, False, 12)  # fmt: skip


def test_a_link_is_left_to_the_worker(calls):
    record = calls.job("img2img", init_images=["https://example.org/a cat.png".replace(" ", "%20")])
    assert record.params.image == "https://example.org/a%20cat.png"


def test_extras_are_upscale_jobs(calls):
    single, answer = calls.jobs("/sdapi/v1/extra-single-image", image=IMAGE, upscaler_1="Nearest", upscaling_resize=4)
    assert (single[0].kind, single[0].params.scale, single[0].params.upscaler) == ("upscale", 4, "Nearest")
    assert set(answer) == {"html_info", "image"}
    to_size = {"resize_mode": 1, "upscaling_resize_w": 64, "upscaling_resize_h": 64, "upscaler_1": "Lanczos"}
    images = [{"data": IMAGE, "name": "a"}, {"data": f"data:image/png;base64,{IMAGE}"}]
    batch, answer = calls.jobs("/sdapi/v1/extra-batch-images", 2, imageList=images, **to_size)
    assert [record.params.scale for record in batch] == [2, 2] and len(answer["images"]) == 2


CATALOG = """
[faces]
restorer = { file = "a.pth" }
detector = { file = "b.onnx" }
[models.fine]
folder = "fine"
family = "sdxl"
[models."base one"]
folder = "base"
family = "sdxl"
defaults = { width = 128, height = 128 }
[controlnets]
canny = { file = "canny.safetensors", aliases = ["control_v11p_sd15_canny"] }
[embeddings]
good = { file = "canny.safetensors" }
lost = { file = "lost.safetensors" }
[upscalers]
"R-ESRGAN 4x+" = { file = "canny.safetensors" }
"""


@pytest.fixture
def cataloged(serve, settings, data, key, redis, worker):
    """The same with a server of its own, whose catalog has something of everything."""
    (data / "canny.safetensors").write_bytes(b"x")
    for model in ("fine", "base"):
        (data / model).mkdir()
        (data / model / "model_index.json").write_text("{}")
    (data / "catalog.toml").write_text(CATALOG)
    hand = type(worker)(Ledger(redis, 3600), ImageStore(settings.images_folder))
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, auth=("x", key), timeout=20) as client:
        yield Calls(client, hand, redis)


def test_faces_are_restored_where_there_are_weights(cataloged):
    assert cataloged.client.get("/sdapi/v1/face-restorers").json() == [{"name": "GFPGAN", "cmd_dir": None}]
    restored, _ = cataloged.jobs("/sdapi/v1/extra-single-image", image=IMAGE, gfpgan_visibility=1)
    assert restored[0].kind == "face_restore"


def test_lists_have_what_can_be_used(cataloged):
    def names(path: str, key: str) -> list[str]:
        return [each[key] for each in cataloged.client.get(f"/sdapi/v1/{path}").json()]

    assert names("upscalers", "name") == ["None", "Lanczos", "Nearest", "R-ESRGAN 4x+"]
    assert names("realesrgan-models", "name") == ["R-ESRGAN 4x+"]
    assert names("sd-models", "model_name") == ["house", "fine", "base one"]
    embeddings = cataloged.client.get("/sdapi/v1/embeddings").json()
    assert (list(embeddings["loaded"]), list(embeddings["skipped"])) == (["good"], ["lost"])


def test_a_model_is_known_by_all_its_names(cataloged):
    shown = cataloged.client.get("/sdapi/v1/sd-models").json()[2]
    assert shown["title"] == f"base one.safetensors [{shown['hash']}]" and shown["filename"] == "base one.safetensors"
    for name in (shown["title"], shown["hash"], "base one", "base one.ckpt [0123456789]", " base one "):
        params = cataloged.job("txt2img", override_settings={"sd_model_checkpoint": name}).params
        assert params.model == "base one"


def test_a_refiner_draws_the_end(cataloged):
    base = {"override_settings": {"sd_model_checkpoint": "base one"}}
    refiner = cataloged.job("txt2img", refiner_checkpoint="fine.safetensors", **base).params.refiner
    assert (refiner.model, refiner.start) == ("fine", 0.8)
    refiner = cataloged.job("txt2img", refiner_checkpoint="fine", refiner_switch_at=0.6, **base).params.refiner
    assert refiner.start == 0.6


@pytest.mark.parametrize(
    ("unit", "effective"),
    [
        ({"image": IMAGE}, {"preprocessor": "none", "mode": "balanced", "resize_mode": "crop", "weight": 1}),
        ({"input_image": IMAGE, "module": "Canny", "threshold_a": 50, "threshold_b": 90, "guidance": 0.5},
         {"preprocessor": "canny", "threshold_a": 50, "threshold_b": 90, "end": 0.5}),
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

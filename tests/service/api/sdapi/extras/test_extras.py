"""Images that are processed without a prompt."""

from __future__ import annotations

import base64
from io import BytesIO

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from service.api.crops import cropped
from tests.service.api.sdapi.sdapi_calls import image

IMAGE = image()


def test_extras_are_upscale_jobs(calls):
    single, answer = calls.jobs("/sdapi/v1/extra-single-image", image=IMAGE, upscaler_1="Nearest", upscaling_resize=4)
    assert (single[0].kind, single[0].params.scale, single[0].params.upscaler) == ("upscale", 4, "Nearest")
    assert set(answer) == {"html_info", "image"}
    to_size = {"resize_mode": 1, "upscaling_resize_w": 64, "upscaling_resize_h": 64, "upscaler_1": "Lanczos"}
    images = [{"data": IMAGE, "name": "a"}, {"data": f"data:image/png;base64,{IMAGE}"}]
    batch, answer = calls.jobs("/sdapi/v1/extra-batch-images", 2, imageList=images, **to_size)
    assert [record.params.scale for record in batch] == [2, 2] and len(answer["images"]) == 2


def test_faces_are_restored_where_there_are_weights(cataloged):
    assert cataloged.client.get("/sdapi/v1/face-restorers").json() == [{"name": "GFPGAN", "cmd_dir": None}]
    restored, _ = cataloged.jobs("/sdapi/v1/extra-single-image", image=IMAGE, gfpgan_visibility=1)
    assert restored[0].kind == "face_restore"


@pytest.mark.parametrize(("name", "format_"), [("jpg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
def test_images_have_the_format_of_the_options(client, calls, name, format_):
    client.post("/sdapi/v1/options", json={"samples_format": name})
    _, single = calls.jobs("/sdapi/v1/extra-single-image", image=IMAGE, upscaler_1="Lanczos")
    _, batch = calls.jobs("/sdapi/v1/extra-batch-images", imageList=[{"data": IMAGE}], upscaler_1="Lanczos")
    for answer in (single["image"], *batch["images"]):
        assert Image.open(BytesIO(base64.b64decode(answer))).format == format_


@pytest.mark.parametrize("factor", [1, 1.5, 3, 8, 0.5])
def test_any_factor_within_the_bounds_is_possible(calls, factor):
    sent = {"image": IMAGE, "upscaler_1": "Lanczos", "upscaling_resize": factor}
    (record,), _ = calls.jobs("/sdapi/v1/extra-single-image", **sent)
    assert record.params.scale == factor


def test_an_image_is_cropped_to_the_size_of_the_request():
    texts = PngInfo()
    texts.add_text("parameters", "Upscaler: Lanczos")
    buffer = BytesIO()
    source = Image.new("RGB", (40, 30), "red")
    source.paste("blue", (10, 0, 30, 30))
    source.save(buffer, "PNG", pnginfo=texts)
    with Image.open(BytesIO(cropped(buffer.getvalue(), (20, 30)))) as middle:
        assert middle.size == (20, 30) and middle.info["parameters"] == "Upscaler: Lanczos"
        assert middle.getcolors() == [(600, (0, 0, 255))]

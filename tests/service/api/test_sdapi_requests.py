"""What A1111's clients send, and what the jobs are that come of it; nothing is drawn."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image
from redis import Redis

from models.job import JobRecord
from models.styles import STYLES

QUEUE_KEY = "rq:queue:photogram"


def picture(size: tuple[int, int] = (32, 32)) -> str:
    buffer = BytesIO()
    Image.effect_noise(size, 80).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE = picture()


class Calls:
    """Sends calls that wait, and finishes the jobs that they make."""

    def __init__(self, client: httpx.Client, worker: Any, redis: Redis) -> None:
        self._client, self._worker, self._redis = client, worker, redis

    def queued(self, count: int = 1) -> list[str]:
        for _ in range(300):
            ids = [job_id.decode() for job_id in self._redis.lrange(QUEUE_KEY, 0, -1)]
            if len(ids) >= count:
                return ids
            time.sleep(0.01)
        raise AssertionError("nothing was queued")

    def begin(self, path: str, **body: Any) -> tuple[threading.Thread, list[httpx.Response]]:
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(self._client.post(path, json=body)))
        thread.start()
        return thread, answers

    def jobs(self, path: str, count: int = 1, **body: Any) -> tuple[list[JobRecord], dict[str, Any]]:
        """The jobs of a call that succeeded, and its answer."""
        thread, answers = self.begin(path, **body)
        ids = self.queued(count) if not answers else []
        records = [self._worker.ledger.read(job_id) for job_id in ids]
        for job_id in ids:
            self._worker.draw(job_id)
        self._redis.delete(QUEUE_KEY)
        thread.join()
        assert answers[0].status_code == 200, answers[0].text
        assert len(records) == count
        return records, answers[0].json()

    def job(self, path: str, **body: Any) -> JobRecord:
        (record,), _ = self.jobs(f"/sdapi/v1/{path}", **{"prompt": "a cat", **body})
        return record


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
        ({"override_settings": {"CLIP_stop_at_last_layers": 2.0, "sd_vae": "Automatic", "samples_save": False,
                                "sd_model_checkpoint": "house.safetensors"}},
         {"clip_skip": 2, "model": "house"}),
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
def test_a_picture_to_start_from(calls, fields, effective):
    split = f"data:image/png;base64,{PICTURE[:40]}\n{PICTURE[40:]}\n"
    record = calls.job("img2img", init_images=[split], **fields)
    assert record.kind == "img2img" and record.params.image.startswith("input:")
    assert {name: getattr(record.params, name) for name in effective} == effective


def test_a_mask_and_all_that_belongs_to_it(calls):
    plain = calls.job("img2img", init_images=[PICTURE], mask=PICTURE)
    mask = plain.params.mask
    assert plain.kind == "inpaint" and mask.image == plain.params.image
    assert (mask.blur_px, mask.fill, mask.invert, mask.only_masked, mask.padding_px) == (4, "fill", False, True, 0)
    rich = {"mask_blur_x": 9, "mask_blur_y": 9, "inpainting_fill": 3, "inpainting_mask_invert": True,
            "inpaint_full_res": 0, "inpaint_full_res_padding": 12}  # fmt: skip
    mask = calls.job("img2img", init_images=[PICTURE], mask=picture((16, 16)), **rich).params.mask
    assert (mask.blur_px, mask.fill, mask.invert, mask.only_masked, mask.padding_px) == (
        9, "latent_nothing", True, False, 12)  # fmt: skip


def test_a_link_is_left_to_the_worker(calls):
    record = calls.job("img2img", init_images=["https://example.org/a cat.png".replace(" ", "%20")])
    assert record.params.image == "https://example.org/a%20cat.png"


def test_extras_are_upscale_jobs(calls):
    single, answer = calls.jobs("/sdapi/v1/extra-single-image", image=PICTURE, upscaler_1="Nearest", upscaling_resize=4)
    assert (single[0].kind, single[0].params.scale, single[0].params.upscaler) == ("upscale", 4, "Nearest")
    assert set(answer) == {"html_info", "image"}
    to_size = {"resize_mode": 1, "upscaling_resize_w": 64, "upscaling_resize_h": 64, "upscaler_1": "Lanczos"}
    images = [{"data": PICTURE, "name": "a"}, {"data": f"data:image/png;base64,{PICTURE}"}]
    batch, answer = calls.jobs("/sdapi/v1/extra-batch-images", 2, imageList=images, **to_size)
    assert [record.params.scale for record in batch] == [2, 2] and len(answer["images"]) == 2


def test_faces_are_restored_where_there_are_weights(serve_with: Callable[..., Any]):
    with serve_with("[faces.restorer]\nfile = 'a.pth'\n[faces.detector]\nfile = 'b.onnx'\n") as calls:
        restored, _ = calls.jobs("/sdapi/v1/extra-single-image", image=PICTURE, gfpgan_visibility=1)
        assert restored[0].kind == "face_restore"
        assert calls.client.get("/sdapi/v1/face-restorers").json() == [{"name": "GFPGAN", "cmd_dir": None}]

"""A package draws what the service draws."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import photogram_runtime
import pytest
import torch
from photogram_runtime import SAMPLERS, Deployed, InvalidRequest
from photogram_runtime.drawing import levels

from models.diffusion.events import Finished
from models.diffusion.rgb import to_levels
from tests.models.diffusion.rig import Studio, add_row, params, pixel_difference

NAMES = ("sd", "house")
PAIR = pytest.mark.parametrize("name", NAMES)


def draw(deployed: Deployed, **changes: Any) -> Any:
    """The image of :func:`params` with ``changes``."""
    wanted = params(**changes)
    return deployed.draw(
        wanted.prompt, negative_prompt=wanted.negative_prompt, seed=wanted.seed, steps=wanted.num_inference_steps,
        guidance_scale=wanted.guidance_scale, width=wanted.width, height=wanted.height, sampler=wanted.sampler,
    )  # fmt: skip


@PAIR
@pytest.mark.parametrize("changes", [
    *({"sampler": sampler} for sampler in SAMPLERS), {"width": 96, "height": 40}, {"guidance_scale": 1.0},
    {"guidance_scale": 0.0}, {"negative_prompt": "dog"}, {"seed": 2**32 + 7}, {"prompt": "a \\(red\\) cat"},
    {"num_inference_steps": 1, "sampler": "DPM++ 2M"}, {"num_inference_steps": 17, "sampler": "DPM++ 2M"},
], ids=str)  # fmt: skip
def test_an_image_is_that_of_diffusers(
    drawing: dict[str, Deployed], studios: dict[str, Studio], name: str, changes: dict[str, Any]
):
    wanted = params(**changes)
    expected = studios[name].draw_plain(params(**changes | {"prompt": wanted.prompt.replace("\\", "")}))
    assert pixel_difference(expected, draw(drawing[name], **changes)) <= 2


@PAIR
def test_an_image_is_that_of_the_engine(drawing: dict[str, Deployed], studios: dict[str, Studio], name: str):
    wanted = params(sampler="DPM++ 2M", negative_prompt="dog", width=96)
    engine = studios[name].engine()
    add_row(engine, "row", wanted, studios[name].spec)
    found = [event.result for _ in iter(lambda: engine.is_idle, True) for event in engine.step()
             if isinstance(event, Finished)]  # fmt: skip
    engine.close()
    assert pixel_difference(found[0], draw(drawing[name], sampler="DPM++ 2M", negative_prompt="dog", width=96)) <= 2


def test_what_is_left_out_are_the_models_defaults(drawing: dict[str, Deployed]):
    deployed = drawing["sd"]
    own = deployed.package.manifest["drawing"]
    assert (own["sampler"], own["steps"], own["guidance_scale"], own["width"]) == ("Euler a", 20, 7.0, 512)
    few = deployed.draw("a cat", steps=2, width=64, height=64)
    assert few.tobytes() == deployed.draw(
        "a cat", negative_prompt="", seed=0, steps=2, width=64, height=64, sampler="Euler a", guidance_scale=7.0
    ).tobytes()  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), [
    ({"width": 60}, "width must be a multiple of 8 px, not 60; 56 is one"),
    ({"height": 24}, "height must be from 32 to 128, not 24"),
    ({"width": 136}, "width must be from 32 to 128, not 136"),
    ({"width": 10**5000}, "width must be from 32 to 128, not a number of more than 40 digits"),
    ({"width": 64.0}, "width must be a whole number, not 64.0"),
    ({"width": True}, "width must be a whole number, not True"),
    ({"width": "64"}, "width must be a whole number, not '64'"),
    ({}, "width must be from 32 to 128, not 512"),
    ({"steps": 0}, "steps must be from 1 to 1000, not 0"),
    ({"steps": -1}, "steps must be from 1 to 1000, not -1"),
    ({"steps": 10**9}, "steps must be from 1 to 1000"),
    ({"steps": [4]}, "steps must be a whole number, not a value of the type list"),
    ({"guidance_scale": float("nan")}, "guidance_scale must be from 0 to 50, not nan"),
    ({"guidance_scale": float("inf")}, "guidance_scale must be from 0 to 50, not inf"),
    ({"guidance_scale": -0.1}, "guidance_scale must be from 0 to 50, not -0.1"),
    ({"guidance_scale": 10**400}, "guidance_scale must be from 0 to 50"),
    ({"guidance_scale": "7"}, "guidance_scale must be a number, not '7'"),
    ({"seed": -1}, "seed must be from 0 to 9007199254740991, not -1"),
    ({"seed": 2**53}, "seed must be from 0"),
    ({"seed": 1.5}, "seed must be a whole number"),
    ({"sampler": "UniPC"}, "no sampler 'UniPC'; it has Euler"),
    ({"sampler": 4}, "sampler must be a name, not a value of the type int"),
    ({"negative_prompt": "(dog:1.5)"}, "negative_prompt has the bracket"),
    ({"negative_prompt": 3}, "negative_prompt must be a text, not int"),
    ({"prompt": "word " * 5000}, "prompt has 25000 characters"),
    ({"prompt": "word " * 90}, "prompt has 360 tokens, and at most 75 can be encoded"),
    ({"prompt": None}, "prompt must be a text, not NoneType"),
    ({"progress": 5}, "progress must be a function"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_refused(drawing: dict[str, Deployed], changes: dict[str, Any], message: str):
    size = {"width": 64, "height": 64} if changes else {}
    with pytest.raises(InvalidRequest) as caught:
        drawing["sd"].draw(**{"prompt": "a cat"} | size | changes)
    assert message in str(caught.value)


def test_numbers_of_numpy_are_numbers(drawing: dict[str, Deployed]):
    numbers = {"width": np.int64(64), "height": np.int32(64), "steps": np.uint8(2), "guidance_scale": np.float32(2)}
    assert drawing["sd"].draw("a cat", seed=np.int64(3), **numbers).size == (64, 64)


def test_progress_tells_each_step_and_may_end_the_drawing(drawing: dict[str, Deployed]):
    told: list[tuple[int, int]] = []
    drawing["sd"].draw("a cat", steps=3, width=64, height=64, progress=lambda *each: told.append(each))
    assert told == [(1, 3), (2, 3), (3, 3)]

    def give_up(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drawing["sd"].draw("a cat", steps=3, width=64, height=64, progress=give_up)


def test_threads_draw_as_one_does(drawing: dict[str, Deployed]):
    found: dict[int, bytes] = {}

    def one(seed: int) -> None:
        found[seed] = draw(drawing["house"], seed=seed).tobytes()

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == {seed: draw(drawing["house"], seed=seed).tobytes() for seed in range(4)}


def test_a_model_that_draws_does_not_see(drawing: dict[str, Deployed]):
    for ask in (drawing["sd"].classify, drawing["sd"].embed):
        with pytest.raises(InvalidRequest, match="tiny draws, and cannot"):
            ask(draw(drawing["sd"]))


def test_levels_are_rounded_as_the_service_rounds_them(studios: dict[str, Studio]):
    pixels = torch.linspace(-1.2, 1.2, 3 * 64 * 64).reshape(1, 3, 64, 64)
    pixels[0, 0, 0] = (torch.arange(64) + 0.5) / 255 * 2 - 1  # halves
    expected = to_levels(studios["sd"].checkpoint.pipeline.image_processor, pixels)
    assert (levels(pixels.numpy()) == expected.numpy()).all()


def test_the_same_image_with_openvino(openvino_folder: Path, drawing: dict[str, Deployed]):
    deployed = photogram_runtime.load(openvino_folder, threads=1)
    assert pixel_difference(draw(drawing["house"]), draw(deployed)) <= 2

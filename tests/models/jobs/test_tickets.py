"""From a request to a ticket: what is filled in, what is refused, and with which words."""

from __future__ import annotations

import math
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.catalog.bounds import GUIDANCE_MAX
from models.catalog.catalog import Catalog, Defaults, Limits, ModelSpec
from models.catalog.samplers import SAMPLERS
from models.errors import InvalidTicket
from models.jobs.params import DRAWN_SEED_MAX, PROMPT_MAX_CHARS, SEED_MAX, DrawParams, DrawRequest
from models.jobs.tickets import complete, open_ticket

PAINT = ModelSpec(
    name="paint",
    family="stable-diffusion",
    folder=Path("/nowhere"),
    aliases=("brush", "paint.safetensors [abc]"),
    defaults=Defaults(
        sampler="DDIM", num_inference_steps=7, guidance_scale=2, width=64, height=96, negative_prompt="blurry"
    ),
    limits=Limits(min_px=32, max_px=256, max_steps=50),
)
CATALOG = Catalog({"paint": PAINT}, default="paint")


def completed(**choices: Any) -> DrawParams:
    return complete(DrawRequest(**{"prompt": "a cat", **choices}), CATALOG)


def problems(**choices: Any) -> dict[str, str]:
    with pytest.raises(InvalidTicket) as caught:
        completed(**choices)
    return {problem.field: problem.message for problem in caught.value.problems}


def test_what_is_left_open_comes_from_the_models_own_defaults() -> None:
    params = completed(seed=3)
    assert params == DrawParams(
        prompt="a cat", negative_prompt="blurry", model="paint", sampler="DDIM", num_inference_steps=7,
        guidance_scale=2.0, seed=3, width=64, height=96,
    )  # fmt: skip
    assert isinstance(params.guidance_scale, float)
    house = completed(model="house", seed=3)
    assert (house.sampler, house.width, house.guidance_scale, house.negative_prompt) == ("DPM++ 2M", 128, 3.0, "")


def test_what_is_chosen_stays_even_where_it_is_empty_or_zero() -> None:
    params = completed(negative_prompt="", guidance_scale=0, seed=0, sampler="LCM", num_inference_steps=1)
    assert (params.negative_prompt, params.guidance_scale, params.seed) == ("", 0.0, 0)
    assert (params.sampler, params.num_inference_steps) == ("LCM", 1)


@pytest.mark.parametrize("name", [None, "paint", "brush", "paint.safetensors [abc]", "Paint", "BRUSH "])
def test_every_name_of_a_model_becomes_its_own_name(name: str | None) -> None:
    assert completed(model=name).model == "paint"


@pytest.mark.parametrize("name", ["", "pain", "../house", "\ud800"])
def test_an_unknown_model_is_refused_with_those_there_are(name: str) -> None:
    assert problems(model=name)["model"].endswith("there are: house, paint")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a cat AND [a:b:0.5]", "prompt editing"),
        ("a cat AND a dog :1000", "weights must be from"),
        (" AND ".join("a" * 9), "at most 8 parts can be composed by AND, not 9"),
    ],
)
def test_a_composed_prompt_is_checked_when_it_is_submitted(prompt: str, message: str) -> None:
    assert message in problems(prompt=prompt)["prompt"]
    assert completed(negative_prompt=" AND ".join("a" * 9)).negative_prompt  # AND is an ordinary word there


def test_a_composed_prompt_is_kept_with_its_weights() -> None:
    assert completed(prompt="a cat AND a red car :0.8").prompt == "a cat AND a red car :0.8"


@pytest.mark.parametrize("seed", [None, -1])
def test_a_seed_that_is_left_open_is_drawn(seed: int | None) -> None:
    drawn = {completed(seed=seed).seed for _ in range(50)}
    assert len(drawn) == 50
    assert all(0 <= each <= DRAWN_SEED_MAX for each in drawn)


NAN, INF = math.nan, math.inf
EDGES = [
    ("num_inference_steps", (1, 2, 50), (0, -1, 51, 10**400)),
    ("guidance_scale", (0, 0.0, 1, GUIDANCE_MAX), (-0.01, GUIDANCE_MAX + 0.01, NAN, INF, -INF)),
    ("seed", (0, DRAWN_SEED_MAX + 1, SEED_MAX), (-2, SEED_MAX + 1, -(10**400), 10**400)),
    ("width", (32, 40, 256), (24, 31, 33, 36, 257, 264, 0, -64, 10**400)),
    ("height", (32, 40, 256), (24, 31, 33, 36, 257, 264, 0, -64, 10**400)),
    ("sampler", tuple(SAMPLERS), ("", "DPM++", "Euler\0")),
    ("prompt",
     ("x", "", " \n\t\u3000", "x" * PROMPT_MAX_CHARS, "word " * (PROMPT_MAX_CHARS // 5), "😀" * 1000, "a < b",
      "東京\n\t\r\x7f"),
     ("😀" * PROMPT_MAX_CHARS, "BREAK " * 1000, "x" * (PROMPT_MAX_CHARS + 1),
      "a\0b", "\ud800", "a <lora:x:1>", "a <lora:x", "[a|b]",
      "a <hypernet:x:1>", "[cat:dog:0.5]", "(a:1.2.3)")),
    ("negative_prompt", ("", "x" * PROMPT_MAX_CHARS), ("x" * (PROMPT_MAX_CHARS + 1), "\0", "a\udfff", "<lora:film:1>")),
    ("clip_skip", (1, 12), (0, 13, -1)),
    ("reuse_interval", (1, 10), (0, 11)),
    ("priority", (-2, 0, 2), (-3, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, good, _ in EDGES for value in good])
def test_a_value_within_bounds_is_kept(field: str, value: Any) -> None:
    assert getattr(completed(**{field: value}), field) == value


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, _, bad in EDGES for value in bad])
def test_a_value_out_of_bounds_is_refused_by_its_field_in_few_words(field: str, value: Any) -> None:
    found = problems(**{field: value})
    assert list(found) == [field]
    assert 0 < len(found[field]) < 240


def test_all_problems_are_told_at_once() -> None:
    found = problems(prompt="\0", width=7, height=9999, seed=-5, sampler="?", num_inference_steps=0, guidance_scale=NAN)
    assert set(found) == {
        "prompt", "width", "height", "seed", "sampler", "num_inference_steps", "guidance_scale",
    }  # fmt: skip


def test_bounds_are_the_models_own() -> None:
    wide = Catalog({"paint": replace(PAINT, limits=Limits(max_px=512))}, default="paint")
    assert complete(DrawRequest(prompt="x", width=512), wide).width == 512
    assert "to 256 for paint" in problems(width=512)["width"]


def test_params_survive_their_payload_and_ignore_later_keys() -> None:
    params = completed(prompt="naïve 😀\n", seed=SEED_MAX)
    assert DrawParams.from_payload(params.to_payload() | {"of_later": 2}) == params


def test_the_server_makes_ids_that_job_and_image_share() -> None:
    tickets = [open_ticket(DrawRequest(prompt="x"), CATALOG, owner="me") for _ in range(100)]
    assert len({ticket.job_id for ticket in tickets}) == 100
    assert all(ticket.image_id == ticket.job_id for ticket in tickets)
    assert all(uuid.UUID(ticket.job_id).version == 4 for ticket in tickets)


@pytest.mark.parametrize(
    "job_id",
    [
        "cat",
        "0",
        "A" * 64,
        str(uuid.uuid1()),
        str(uuid.uuid3(uuid.NAMESPACE_DNS, "x")),
        str(uuid.UUID(int=0)),
        str(uuid.uuid4()).upper(),
        uuid.uuid4().hex,
        str(uuid.uuid4()),
    ],
)
def test_a_job_id_that_a_client_chose_is_never_that_of_its_image(job_id: str) -> None:
    first, second = (
        open_ticket(DrawRequest(prompt="x"), CATALOG, job_id=job_id, owner="me").image_id for _ in range(2)
    )
    assert len({first, second, job_id}) == 3
    assert uuid.UUID(first).version == 4 and str(uuid.UUID(first)) == first

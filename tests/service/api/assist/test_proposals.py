"""Calls of tools become jobs: the tools' schemas, the merging with a job to change, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FLUX
from models.errors import InvalidTicket
from models.jobs.params import DrawRequest
from models.jobs.tickets import open_ticket
from models.language.tools import DIALECTS
from models.language.tools.types import USER, TextTurn
from service.api.assist.information import information_tools, look_up
from service.api.assist.instructions import SYSTEM
from service.api.assist.proposals import AssistRequest, propose
from service.api.assist.tools import CREATE, EDIT, ENLARGE, image_index, job_tools

CAT, DOG = "image:0b7c2f0e-6f0e-4b43-9a55-3f6a3e1f7a11", "https://example.org/dog.png"
MASK = {"image": "input:" + "0" * 64, "blur_px": 8}
CATALOG = Catalog(
    {"large": ModelSpec(name="large", family=FLUX, repository="example/large")},
    extras={"loras": {"film": AuxiliaryModel(name="film", path=Path("film.safetensors"))}},
)


def request_with(kind: str | None = None, *images: str, **params: Any) -> AssistRequest:
    return AssistRequest(catalog=CATALOG, images=images, job=None if kind is None else {"kind": kind, "params": params})


def params_of(name: str, arguments: dict[str, Any], given: AssistRequest) -> dict[str, Any]:
    job = propose(name, arguments, given)
    return {"kind": job["kind"], **job["params"]}


def refusal(name: str, arguments: dict[str, Any], given: AssistRequest) -> dict[str, str]:
    with pytest.raises(InvalidTicket) as caught:
        propose(name, arguments, given)
    return {problem.field: problem.message for problem in caught.value.problems}


def test_schemas_are_strict_and_take_what_they_ask_for():
    for is_change in (False, True):
        for tool in [*job_tools(CATALOG, 2, is_change=is_change), *information_tools()]:
            jsonschema_rs.meta.validate(tool.parameters)
            assert all(jsonschema_rs.is_valid(tool.parameters, each.arguments) for each in tool.examples)
            assert tool.parameters["additionalProperties"] is False
            assert "priority" not in tool.parameters["properties"] and "$ref" not in json.dumps(tool.parameters)
    create = next(tool for tool in job_tools(CATALOG, 0, is_change=False) if tool.name == CREATE)
    schema = jsonschema_rs.validator_for(dict(create.parameters))
    asked = {"prompt": "a fox"}
    assert schema.is_valid(asked)
    assert schema.is_valid({"prompt": "a fox"} | {"aspect_ratio": "16:9", "width": 512, "seed": 2**53 - 1})
    for wrong in (
        {"prompt": None}, {"prompt": ""}, {"prompt": 5}, {"width": 56}, {"width": 10**6}, {"width": "512"},
        {"style_preset": "baroque"}, {"model": "dreams"}, {"aspect_ratio": "17:1"}, {"seed": -1}, {"seed": 2**53},
        {"guidance_scale": 51}, {"num_inference_steps": 0}, {"other": 1},
    ):  # fmt: skip
        assert not schema.is_valid(asked | wrong), wrong
    assert not schema.is_valid({"width": 512})


def test_whatever_may_be_left_out_is_left_out_of_a_new_job():
    create = next(tool for tool in job_tools(CATALOG, 0, is_change=False) if tool.name == CREATE)
    arguments = dict.fromkeys(create.parameters["properties"]) | {"prompt": "a fox"}
    assert propose(CREATE, arguments, request_with()) == {"kind": "txt2img", "params": {"prompt": "a fox"}}


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_tools_and_instructions_leave_room_in_a_small_context(dialect):
    tools = [*job_tools(Catalog({}), 8, is_change=False), *information_tools()]
    body = dialect.body(SYSTEM, [TextTurn(role=USER, text="a fox")], tools)
    written = [message["content"] for message in body["messages"]] + [json.dumps(body.get("tools", ""))]
    assert len(re.sub(r"\s+", " ", "\n".join(written))) < 9000  # about 2200 tokens


def test_a_long_list_of_names_is_not_spelled_out():
    many = {f"m{i}": ModelSpec(name=f"m{i}", family=FLUX, repository="example/m") for i in range(70)}
    create = job_tools(Catalog(many), 0, is_change=False)[0]
    assert "enum" not in json.dumps(create.parameters["properties"]["model"])
    listed = look_up("list_models", Catalog(many))
    assert len(listed["models"]) >= 10 and listed["more"] == 71 - len(listed["models"])
    assert len(json.dumps(listed)) < 3100


def test_look_ups():
    assert {tool.name for tool in information_tools()} == {"list_models", "list_styles", "list_samplers", "list_loras"}
    found = {tool.name: look_up(tool.name, CATALOG) for tool in information_tools()}
    assert not any("more" in each for each in found.values())
    assert [each["name"] for each in found["list_models"]["models"]] == ["house", "large"]
    assert found["list_models"]["models"][1]["takes_negative_prompt"] is False
    assert {"origami", "comic-book"} <= {each["name"] for each in found["list_styles"]["styles"]}
    assert "Euler a" in found["list_samplers"]["samplers"]
    assert found["list_loras"]["loras"] == [{"name": "film", "for_models_of": None}]


CHANGES = {
    "nothing": ({}, {}),
    "null keeps": ({"prompt": None, "width": None}, {}),
    "prompt": ({"prompt": "a fox"}, {"prompt": "a fox"}),
    "style": ({"style_preset": "comic-book"}, {"style_preset": "comic-book"}),
    "a shape replaces a size": ({"aspect_ratio": "1:1"}, {"aspect_ratio": "1:1", "width": None, "height": None}),
    "one side": ({"width": 256}, {"width": 256}),
    "nothing forbidden any more": ({"negative_prompt": ""}, {"negative_prompt": ""}),
}


@pytest.mark.parametrize(("arguments", "changed"), CHANGES.values(), ids=CHANGES)
def test_changes_of_a_job(arguments, changed):
    base = {
        "prompt": "a street", "negative_prompt": "cars", "width": 128, "height": 64, "seed": 5,
        "controls": [{"model": "c", "image": CAT}], "loras": [{"name": "film"}],
    }  # fmt: skip
    given = {field: value for field, value in base.items() if field != "controls"}
    expected = {field: value for field, value in (given | changed).items() if value is not None}
    assert params_of(CREATE, arguments, request_with("txt2img", **given)) == {"kind": "txt2img", **expected}


def test_a_size_replaces_a_shape():
    changed = params_of(CREATE, {"width": 256, "height": 128}, request_with("txt2img", prompt="x", aspect_ratio="16:9"))
    assert changed == {"kind": "txt2img", "prompt": "x", "width": 256, "height": 128}


def test_a_style_can_be_taken_away():
    changed = params_of(CREATE, {"style_preset": "none"}, request_with("txt2img", prompt="x", style_preset="anime"))
    assert changed == {"kind": "txt2img", "prompt": "x"}
    assert params_of(CREATE, {"prompt": "x", "style_preset": "none"}, request_with()) == {
        "kind": "txt2img",
        "prompt": "x",
    }


def test_effective_parameters_can_be_changed():
    effective = open_ticket(DrawRequest(prompt="x", seed=3), CATALOG, job_id="a", owner="o").params
    shown = json.loads(json.dumps(effective.to_payload()))
    given = {field: value for field, value in shown.items() if value is not None}
    edited = params_of(EDIT, {"image": "image 1"}, request_with("txt2img", CAT, **given))
    assert (edited["kind"], edited["image"], edited["seed"]) == ("img2img", CAT, 3)
    assert "strength" not in edited  # all of a new image is drawn; of one to edit that would leave nothing


IMAGES = {
    "by its number": ({"image": "image 2"}, (CAT, DOG), {}, DOG),
    "carelessly": ({"image": "Image #2 "}, (CAT, DOG), {}, DOG),
    "the only one": ({"image": None}, (CAT,), {}, CAT),
    "the job's own": ({}, (DOG, CAT), {"image": CAT}, CAT),
    "another than the job's": ({"image": "image 1"}, (DOG, CAT), {"image": CAT}, DOG),
}


@pytest.mark.parametrize(("arguments", "images", "base", "expected"), IMAGES.values(), ids=IMAGES)
def test_which_image_is_meant(arguments, images, base, expected):
    given = request_with("img2img", *images, prompt="x", **base) if base else request_with(None, *images)
    assert params_of(EDIT, {"prompt": "x", **arguments}, given)["image"] == expected
    given = request_with("upscale", *images, **base) if base else request_with(None, *images)
    assert params_of(ENLARGE, arguments, given)["image"] == expected


def test_an_inpainted_image_keeps_its_mask_and_another_one_does_not():
    given = request_with("inpaint", DOG, CAT, prompt="a hat", image=CAT, mask=MASK)
    kept = params_of(EDIT, {"prompt": "a crown"}, given)
    assert (kept["kind"], kept["mask"], kept["image"], kept["prompt"]) == ("inpaint", MASK, CAT, "a crown")
    other = params_of(EDIT, {"image": "image 1"}, given)
    assert (other["kind"], other["image"], "mask" in other) == ("img2img", DOG, False)


def test_an_image_to_edit_can_be_forgotten():
    given = request_with("img2img", CAT, prompt="a cat", image=CAT, strength=0.4, resize_mode="fill", seed=1)
    assert params_of(CREATE, {}, given) == {"kind": "txt2img", "prompt": "a cat", "seed": 1}


def test_what_was_drawn_says_nothing_about_an_enlargement():
    given = request_with("txt2img", CAT, prompt="a cat", seed=1)
    assert params_of(ENLARGE, {"scale": 4}, given) == {"kind": "upscale", "image": CAT, "scale": 4}
    assert refusal(CREATE, {"prompt": None}, request_with("upscale", CAT, image=CAT)) == {"prompt": "is required"}


REFUSALS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no prompt": (CREATE, {}, "prompt"),
    "NUL in the prompt": (CREATE, {"prompt": "\0"}, "prompt"),
    "prompt of another type": (CREATE, {"prompt": ["x"]}, "prompt"),
    "long prompt": (CREATE, {"prompt": "x" * 10_001}, "prompt"),
    "not a multiple": (CREATE, {"prompt": "x", "width": 500}, "width"),
    "half a pixel": (CREATE, {"prompt": "x", "width": 512.5}, "width"),
    "both": (CREATE, {"prompt": "x", "width": 512, "aspect_ratio": "1:1"}, "aspect_ratio"),
    "unknown model": (CREATE, {"prompt": "x", "model": "dreams"}, "model"),
    "unknown style": (CREATE, {"prompt": "x", "style_preset": "baroque"}, "style_preset"),
    "unknown LoRA": (CREATE, {"prompt": "x <lora:nope:1>"}, "prompt"),
    "unknown argument": (CREATE, {"prompt": "x", "priority": 2}, "priority"),
    "argument of another tool": (CREATE, {"prompt": "x", "image": "image 1"}, "image"),
    "a model that cannot": (
        CREATE,
        {"prompt": "x", "model": "large", "negative_prompt": "y", "sampler": "Euler"},
        "negative_prompt",
    ),
    "no picture": (EDIT, {"prompt": "x", "image": "image 1"}, "image"),
    "a URL of its own": (EDIT, {"prompt": "x", "image": "http://169.254.169.254/"}, "image"),
    "a picture as a number": (EDIT, {"prompt": "x", "image": 1}, "image"),
    "no picture to enlarge": (ENLARGE, {"scale": 2}, "image"),
    "mask": (EDIT, {"prompt": "x", "mask": {"image": "image 1"}}, "mask"),
}


@pytest.mark.parametrize(("name", "arguments", "field"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_drawn_is_told_by_the_names_of_the_arguments(name, arguments, field):
    assert list(refusal(name, arguments, request_with())) == [field]


def test_images_that_are_not_there():
    assert refusal(EDIT, {"prompt": "x", "image": "image 3"}, request_with(None, CAT, DOG)) == {
        "image": "must be image 1 or image 2"
    }
    assert "must be image 1 or image 2" in refusal(EDIT, {"prompt": "x"}, request_with(None, CAT, DOG))["image"]
    assert "only create_image" in refusal(ENLARGE, {}, request_with())["image"]
    assert [image_index(name) for name in ("image 1", "2", "Picture 3", "image 0", "image", "", "image 99999")] == [
        0, 1, 2, None, None, None, None,
    ]  # fmt: skip

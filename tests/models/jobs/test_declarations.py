"""Every field of every kind arrives in the ticket, keeps its bounds, and can be posted again as it became effective."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import Catalog, Limits, ModelSpec
from models.catalog.faces import DETECTOR, RESTORER
from models.catalog.families import SDXL, SDXL_REFINER
from models.catalog.vision import EYES, VisionModels, VisionSpec
from models.errors import FieldProblem, InvalidTicket, ProblemCode
from models.jobs.agents import AGENT
from models.jobs.deploying import DEPLOY
from models.jobs.finetuning import FINETUNE
from models.jobs.kinds import BUILT_IN_KINDS, JobKind, find_kind
from models.jobs.parameters import Field, declared
from models.jobs.params import DrawRequest, JobParams
from models.jobs.tickets import complete
from models.jobs.vision import SIMILARITY
from service.api.job_bodies import params_body, parse_job

SOURCE, OTHER = "input:" + "0" * 64, "input:" + "1" * 64
PATH = Path("weights")
CATALOG = Catalog(
    {
        "xl": ModelSpec(name="xl", family=SDXL, folder=PATH, limits=Limits(max_px=1024)),
        "fine": ModelSpec(name="fine", family=SDXL_REFINER, folder=PATH),
        "deep": ModelSpec(name="deep", family="stable-diffusion", folder=PATH),
    },
    default="xl",
    extras={
        "loras": {"ink": AuxiliaryModel(name="ink", path=PATH)},
        "controlnets": {"edges": AuxiliaryModel(name="edges", path=PATH)},
        "faces": {name: AuxiliaryModel(name=name, path=PATH) for name in (RESTORER, DETECTOR)},
    },
    vision=VisionModels({name: VisionSpec(name=name, repository=f"timm/{name}") for name in ("eye", "fine")}),
)
OTHER_VALUES: dict[str, Any] = {
    "metadata": "none",
    "provenance": "watermark",
    "prompt": "a dog", "negative_prompt": "fog", "model": "fine", "sampler": "DDIM", "num_inference_steps": 11,
    "guidance_scale": 3.5, "seed": 7, "variation": {"seed": 8, "strength": 0.3}, "best_of": 5, "keep": 3,
    "min_score": 0.3, "width": 256, "height": 320,
    "aspect_ratio": "16:9",
    "loras": [{"name": "ink", "weight": 0.5, "text_encoder_weight": 0.25}],
    "style_preset": "fantasy-art", "clip_skip": 2, "image": OTHER,
    "strength": 0.4, "resize_mode": "fill",
    "mask": {"image": OTHER, "blur_px": 9, "fill": "fill", "invert": True, "only_masked": True, "padding_px": 5},
    "controls": [
        {"model": "edges", "image": OTHER, "preprocessor": "canny", "threshold_a": 50.0, "threshold_b": 150.0,
         "weight": 0.5, "start": 0.1, "end": 0.9, "mode": "prompt", "resize_mode": "fill"}
    ],
    "second_pass": {"scale": 1.5, "upscaler": "Nearest", "strength": 0.6, "num_inference_steps": 9},
    "refiner": {"model": "fine", "start": 0.7}, "reuse_interval": 2, "priority": -1, "enhance_prompt": True,
    "enhance_negative_prompt": True, "scale": 4, "upscaler": "Nearest",
    "data": OTHER, "images": [{"image": OTHER, "label": name} for name in ("a", "a", "b", "b")],
    "name": "pets", "full": True, "epochs": 3,
    "patience": 2, "batch_size": 8, "learning_rate": 0.5, "held_out": 0.3, "min_scale": 0.5, "flip": False,
    "augment": "rand-m9",
    "top_k": 3, "multi_label": True, "output": "features", "normalize": False, "others": [OTHER, SOURCE],
    "texts": ["a dog"],
    "brief": "icons of fruit", "files": [OTHER], "mode": "ask", "planner": "template", "replay": "an-earlier-job",
    "budget": {"steps": 7, "images": 3, "seconds": 60, "cost_units": 2.5},
    "backend": "onnxruntime", "precision": "int8", "steps": 12, "parts": ["unet"], "shapes": ["256x320"], "force": True,
}  # fmt: skip
"""For each field of any kind, a value that is not what a request gets without it."""
BESIDE: dict[str, dict[str, Any]] = {
    "reuse_interval": {"model": "deep"},
    "refiner": {"model": "xl"},
    "images": {"data": None},
    "keep": {"best_of": 4},
    "texts": {"model": EYES},
    "replay": {"brief": None},
}
"""Further fields that a field needs beside it."""
REFUSED = {("inpaint", "refiner"), ("txt2img", "model"), (DEPLOY, "model")}
"""Values of the above that a kind refuses: no refiner goes with inpaint, no refiner model does txt2img, and packages
need a name that one model has.
"""
ONE_OF = {
    FINETUNE: {"data": SOURCE}, SIMILARITY: {"image": SOURCE, "others": [SOURCE]}, DEPLOY: {"model": "deep"},
    AGENT: {"brief": "a story"},
}  # fmt: skip
"""Requests of the kinds that need one of several optional fields, or a field that others need not."""
POSSIBLE = [kind for kind in BUILT_IN_KINDS if kind.params is not JobParams]


def minimal(kind: JobKind) -> dict[str, Any]:
    required = {field.name for field in declared(kind.request) if field.is_required} | set(kind.needs)
    values = {"prompt": "a cat", "image": SOURCE, "mask": {"image": SOURCE}}
    if kind.name in ONE_OF:
        return ONE_OF[kind.name]
    return {name: value for name, value in values.items() if name in required}


def completed(kind: str, params: dict[str, Any]) -> JobParams:
    return complete(parse_job({"kind": kind, "params": params}).to_request(), CATALOG)


def problems(kind: str, params: dict[str, Any]) -> list[FieldProblem]:
    with pytest.raises(InvalidTicket) as caught:
        completed(kind, params)
    return list(caught.value.problems)


def accepted_fields() -> Iterator[tuple[str, str]]:
    for kind in POSSIBLE:
        for field in declared(kind.request):
            if field.name not in kind.ignores and (kind.name, field.name) not in REFUSED:
                yield kind.name, field.name


@pytest.mark.parametrize("kind", POSSIBLE, ids=lambda kind: kind.name)
def test_effective_parameters_have_the_fields_of_the_request(kind: JobKind) -> None:
    """A field of the request that has another name in the ticket, or none, must be named here."""
    only_in_requests = {"aspect_ratio"} if kind.request is DrawRequest else set()
    names = {field.name for field in declared(kind.request)}
    assert {field.name for field in fields(kind.params)} == names - only_in_requests
    assert kind.params.declaration is kind.request


@pytest.mark.parametrize(("kind", "field"), list(accepted_fields()))
def test_a_field_arrives_in_the_ticket(kind: str, field: str) -> None:
    params = minimal(find_kind(kind)) | BESIDE.get(field, {}) | {field: OTHER_VALUES[field]}
    found = asdict(completed(kind, params))
    if field == "aspect_ratio":
        assert found["width"] / found["height"] == pytest.approx(16 / 9, rel=0.1)
    else:
        expected = OTHER_VALUES[field]
        assert found[field] == (tuple(expected) if isinstance(expected, list) else expected)


@pytest.mark.parametrize(("kind", "field"), sorted(REFUSED))
def test_what_a_kind_cannot_do_is_refused_and_not_dropped(kind: str, field: str) -> None:
    (found,) = problems(kind, minimal(find_kind(kind)) | {field: OTHER_VALUES[field]})
    assert found.field == field and found.code in (ProblemCode.UNAVAILABLE, ProblemCode.NOT_APPLICABLE)


def test_the_other_values_are_other_values() -> None:
    """The test above would pass for a field that is dropped if its value were the default."""
    for kind, field in accepted_fields():
        if field != "aspect_ratio" and field not in minimal(find_kind(kind)):
            assert asdict(completed(kind, minimal(find_kind(kind))))[field] != OTHER_VALUES[field], field


@pytest.mark.parametrize("kind", POSSIBLE, ids=lambda kind: kind.name)
def test_effective_parameters_can_be_posted_again(kind: JobKind) -> None:
    ignored = (*kind.ignores, "aspect_ratio", "reuse_interval", "model", "images", "texts", "replay")
    names = [name for name in (field.name for field in declared(kind.request)) if name not in ignored]
    names = [name for name in names if (kind.name, name) not in REFUSED]
    first = completed(kind.name, minimal(kind) | {name: OTHER_VALUES[name] for name in names})
    for params in (first, completed(kind.name, minimal(kind))):
        assert completed(kind.name, json_of(params)) == params


def test_effective_parameters_of_a_replay_can_be_posted_again() -> None:
    params = completed(AGENT, {"replay": "an-earlier-job"})
    assert completed(AGENT, json_of(params)) == params


def json_of(params: JobParams) -> dict[str, Any]:
    payload = params.to_payload()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in payload.items()}


def bounded_fields() -> Iterator[tuple[str, Field, float, bool]]:
    """Kind, field, a value just outside of a bound, and whether it is the lower bound."""
    for kind in POSSIBLE:
        for field in declared(kind.request):
            parameter, unit = field.parameter, 1 if field.type is int else 0.01
            if field.name in kind.ignores or parameter.choices is not None:
                continue
            if parameter.low is not None:
                yield kind.name, field, parameter.low - (0 if parameter.excludes_low else unit), True
            if parameter.high is not None:
                yield kind.name, field, parameter.high + (0 if parameter.excludes_high else unit), False


@pytest.mark.parametrize(("kind", "field", "value", "is_low"), list(bounded_fields()))
def test_a_value_beyond_its_bounds_is_refused_with_them(kind: str, field: Field, value: float, is_low: bool) -> None:
    number = int(value) if field.type is int else float(value)
    (found,) = problems(kind, minimal(find_kind(kind)) | {field.name: number})
    assert (found.field, found.code) == (field.name, ProblemCode.OUT_OF_RANGE)
    bound, declared_bound = (found.low, field.parameter.low) if is_low else (found.high, field.parameter.high)
    assert bound is not None and (field.parameter.is_checked_later or bound == declared_bound)


@pytest.mark.parametrize("kind", POSSIBLE, ids=lambda kind: kind.name)
def test_choices_are_refused_with_what_is_allowed(kind: JobKind) -> None:
    for field in declared(kind.request):
        choices = field.parameter.choices
        if choices is not None and field.name not in kind.ignores:
            wrong: str | int = 99 if isinstance(choices[0], int) else "no such thing"
            (found,) = problems(kind.name, minimal(kind) | {field.name: wrong})
            assert (found.field, found.code, found.allowed) == (field.name, ProblemCode.NOT_ALLOWED, choices)


@pytest.mark.parametrize("kind", BUILT_IN_KINDS, ids=lambda kind: kind.name)
def test_the_schema_says_what_the_declarations_say(kind: JobKind) -> None:
    shown = params_body(kind).model_json_schema()
    documented = [field for field in declared(kind.request) if field.name not in kind.ignores]
    assert list(shown["properties"]) == [field.name for field in documented]
    assert set(shown.get("required", ())) == {field.name for field in documented if field.is_required} | set(kind.needs)
    for field in documented:
        branches = shown["properties"][field.name].get("anyOf", [shown["properties"][field.name]])
        bounds = {name: value for each in branches for name, value in each.items()}
        parameter = field.parameter
        assert bounds.get("exclusiveMinimum" if parameter.excludes_low else "minimum") == parameter.low
        assert bounds.get("exclusiveMaximum" if parameter.excludes_high else "maximum") == parameter.high
        assert bounds.get("enum") == (None if parameter.choices is None else list(parameter.choices))
        assert parameter.text in shown["properties"][field.name]["description"]

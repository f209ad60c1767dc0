"""Options are stored for one API key, and unsupported ones are refused."""

from __future__ import annotations

import pytest

from tests.service.api.sdapi.sdapi_calls import Calls, image


def test_options_are_kept_for_one_key(client, stranger, calls):
    assert client.post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 2}).json() is None
    assert client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "house"}).json() is None
    assert client.get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"] == 2
    assert stranger.get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"] == 1
    (record,), answer = calls.jobs("/sdapi/v1/txt2img", prompt="a cat")
    assert record.params.clip_skip == 1 and "Clip skip 2" in answer["info"]  # the built-in model has no second one
    assert calls.job("txt2img", override_settings={"CLIP_stop_at_last_layers": 1}).params.clip_skip == 1
    assert Calls(stranger, calls.worker, calls.redis).job("txt2img").params.clip_skip == 1


def test_all_options_may_be_sent_back(client):
    shown = client.get("/sdapi/v1/options").json()
    assert shown["sd_model_checkpoint"].startswith("house.safetensors [") and shown["samples_format"] == "png"
    assert client.post("/sdapi/v1/options", json={**shown, "sd_checkpoint_hash": "old"}).status_code == 200
    assert client.get("/sdapi/v1/options").json() == shown


@pytest.mark.parametrize(
    "options",
    [
        {"sd_model_checkpoint": "nobody's"}, {"sd_model_checkpoint": 5}, {"CLIP_stop_at_last_layers": True},
        {"CLIP_stop_at_last_layers": "two"}, {"samples_format": "gif"}, {"jpeg_quality": 101}, {"sd_vae": "other.pt"},
        {"randn_source": "NV"}, {"eta_noise_seed_delta": 31337}, {"nobody's": 1}, {"tiling": True},
        {"enable_pnginfo": "perhaps"}, {"enable_pnginfo": 2},
    ],
)  # fmt: skip
def test_options_that_cannot_be_had_are_refused(client, options):
    for path, body, place in (
        ("options", options, []),
        ("txt2img", {"prompt": "x", "override_settings": options}, ["override_settings"]),
    ):
        answer = client.post(f"/sdapi/v1/{path}", json=body)
        assert answer.status_code == 422
        (problem,) = answer.json()["detail"]
        assert problem["loc"] == ["body", *place, *options] and problem["msg"]


def test_a_long_name_of_an_option_is_not_repeated(client):
    for answer in (
        client.post("/sdapi/v1/options", json={"x" * 50_000: 1}),
        client.post("/sdapi/v1/txt2img", json={"prompt": "x", "override_settings": {"x" * 50_000: 1}}),
        client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "x" * 50_000}),
        client.post("/sdapi/v1/txt2img", json={"prompt": "x", "sampler_name": "Euler", "scheduler": "x" * 50_000}),
        client.post("/sdapi/v1/txt2img", json={"prompt": "x", "styles": ["x" * 50_000]}),
    ):
        assert answer.status_code in (400, 422) and "x" * 50 in answer.text
        assert "x" * 101 not in answer.text


def test_an_empty_text_leaves_an_option_as_it_is(client):
    client.post("/sdapi/v1/options", json={"samples_format": "webp"})
    names = ("sd_model_checkpoint", "samples_format", "jpeg_quality", "CLIP_stop_at_last_layers", "emphasis", "sd_vae")
    assert client.post("/sdapi/v1/options", json=dict.fromkeys(names, "")).status_code == 200
    assert client.get("/sdapi/v1/options").json()["samples_format"] == "webp"


@pytest.mark.parametrize(("value", "metadata"), [(False, "none"), (0, "none"), ("false", "none"), (True, "full")])
def test_metadata_is_left_out_without_pnginfo(client, calls, value, metadata):
    assert calls.job("txt2img", override_settings={"enable_pnginfo": value}).params.metadata == metadata
    assert calls.job("txt2img").params.metadata == "full"
    client.post("/sdapi/v1/options", json={"enable_pnginfo": value})
    assert calls.job("txt2img").params.metadata == metadata
    assert client.get("/sdapi/v1/options").json()["enable_pnginfo"] is (metadata == "full")
    (record,), _ = calls.jobs("/sdapi/v1/extra-single-image", image=image(), upscaler_1="Lanczos")
    assert record.params.metadata == metadata


def test_options_that_are_sent_back_do_not_override_the_preference(client, calls):
    client.patch("/v1/preferences", json={"metadata": "none"})
    options = client.get("/sdapi/v1/options").json()
    (record,), answer = calls.jobs("/sdapi/v1/txt2img", prompt="a cat", override_settings=options)
    assert record.params.metadata == "none"
    assert "a cat" in answer["info"], "the answer itself says what was drawn"

"""Jobs that deploy, as the gateway takes them: what is refused by which field, whose keys may, and what they cost."""

from __future__ import annotations

import httpx
import pytest
from redis import Redis

from models.jobs.finetuning import TRAINING_QUEUE
from service.api.app import create_app
from service.backbone.settings import Settings
from tests.waiting import waiting_jobs

CATALOG = """
[models.deep]
folder = "weights"
family = "stable-diffusion"
aliases = ["profound"]
[models.deep.defaults]
num_inference_steps = 10
[models.deep.limits]
max_steps = 60
[vision.eye]
repository = "timm/resnet18"
[upscalers.larger]
file = "weights/larger.safetensors"
[loras.ink]
file = "weights/ink.safetensors"
aliases = ["pen"]
[loras.large_ink]
file = "weights/large_ink.safetensors"
family = "sdxl"
[models.pixels]
folder = "weights"
family = "pixart-sigma"
[models.twin]
folder = "weights"
[vision.twin]
repository = "timm/resnet18"
[vision.other]
repository = "timm/resnet18"
aliases = ["deep", "double"]
[upscalers.third]
file = "weights/third.safetensors"
aliases = ["double"]
"""


@pytest.fixture
def queued(redis: Redis):
    """How many jobs wait for a worker that deploys."""
    return lambda: len(waiting_jobs(redis, TRAINING_QUEUE))


@pytest.fixture
def gateway(serve, settings: Settings, key: str):
    (settings.data / "catalog.toml").write_text(CATALOG)
    with (
        serve(create_app(settings)) as url,
        httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=20) as client,
    ):
        yield client


def deploy(gateway: httpx.Client, path: str = "/v1/jobs", **params: object) -> httpx.Response:
    return gateway.post(path, json={"kind": "deploy", "params": {"model": "deep", **params}})


def test_a_deployment_is_queued_with_nothing_left_open(gateway, queued):
    answer = deploy(gateway, model="PROFOUND", parts=["unet", "vae_decoder"])
    assert answer.status_code == 202, answer.text
    assert answer.json()["params"] == {
        "model": "deep", "backend": "openvino", "precision": "f32", "steps": 10, "parts": ["unet", "vae_decoder"],
        "shapes": [], "loras": [], "force": False, "priority": 0,
    }  # fmt: skip
    sized = deploy(gateway, shapes=["512x768", "64x64"])
    assert sized.json()["params"]["shapes"] == ["512x768", "64x64"], sized.text
    enlarging = deploy(gateway, model="LARGER").json()["params"]
    assert (enlarging["model"], enlarging["steps"]) == ("larger", None)
    seeing = deploy(gateway, model="eye", backend="onnxruntime", precision="int8", force=True).json()["params"]
    assert (seeing["model"], seeing["steps"], seeing["force"]) == ("eye", None, True)
    given = [{"name": "PEN", "weight": 0.5}, {"name": "ink", "weight": 0.25, "text_encoder_weight": 0.5}]
    with_loras = deploy(gateway, loras=given)
    assert with_loras.json()["params"]["loras"] == [{"name": "ink", "weight": 0.75, "text_encoder_weight": 1.0}]
    assert queued() == 5


@pytest.mark.parametrize(
    ("params", "field", "reason"),
    [
        ({"model": None}, "model", "must be a valid string"),
        ({"model": "depp"}, "model", "did you mean 'deep'?"),
        ({"model": "eyes"}, "model", "did you mean 'eye'?"),
        ({"backend": "openvivo"}, "backend", "must be one of openvino, onnxruntime, aoti, tensorrt"),
        ({"precision": "int7"}, "precision", "must be one of f32"),
        ({"backend": "onnxruntime", "precision": "bf16"}, "precision", "onnxruntime cannot have bf16: its CPU kernels"),
        ({"steps": 0}, "steps", "must be from 1 to 60"),
        ({"steps": 61}, "steps", "must be from 1 to 60"),
        ({"parts": ["nose"]}, "parts[0]", "must be one of text_encoder"),
        ({"parts": ["unet", "transformer"]}, "parts[1]", "must be one of text_encoder"),
        ({"parts": ["unet"] * 8}, "parts", "may have at most 7 entries"),
        ({"model": "eye", "steps": 4}, "steps", "is for models that draw, and eye sees"),
        ({"model": "eye", "parts": ["unet"]}, "parts", "is for models that draw, and eye sees"),
        ({"force": "perhaps"}, "force", "must be"),
        ({"shapes": [1]}, "shapes[0]", "must be a valid string"),
        ({"shapes": "64x64"}, "shapes", "must be a valid list"),
        ({"shapes": ["64x64"] * 17}, "shapes", "may have at most 16 entries"),
        ({"shapes": ["64x64", "64"]}, "shapes[1]", "'64' is no size; a size is WIDTHxHEIGHT in pixels"),
        ({"shapes": ["9" * 500]}, "shapes[0]", "is no size"),
        ({"shapes": ["64x65"]}, "shapes[0]", "the height must be a multiple of 8 from 64 to 2048 for deep"),
        ({"shapes": ["64x9992"]}, "shapes[0]", "the height must be from 64 to 2048 for deep"),
        ({"model": "eye", "shapes": ["64x64"]}, "shapes", "is for models that draw, and eye sees"),
        ({"model": "larger", "shapes": ["64x64"]}, "shapes", "is for models that draw, and larger enlarges"),
        ({"model": "larger", "steps": 4}, "steps", "is for models that draw, and larger enlarges"),
        ({"model": "larger", "parts": ["unet"]}, "parts", "is for models that draw, and larger enlarges"),
        ({"loras": [{"name": "inky"}]}, "loras[0].name", "there is no LoRA 'inky' (did you mean 'ink'?)"),
        ({"loras": [{"name": "large_ink"}]}, "loras[0].name", "is made for models of sdxl, not of stable-diffusion"),
        ({"loras": [{"name": "ink", "weight": 10.5}]}, "loras", "the weight of 'ink' must be from -10 to 10"),
        ({"loras": [{"name": "ink", "weight": 6}] * 2}, "loras", "must be from -10 to 10, and is 12"),
        ({"loras": [{"name": "ink", "text_encoder_weight": -11}]}, "loras", "must be from -10 to 10, and is -11"),
        ({"loras": [{"name": "ink", "weight": 0}]}, "loras", "the weight of 'ink' must not be 0"),
        ({"loras": [{"name": "ink"}] * 9}, "loras", "may have at most 8 entries"),
        ({"loras": [{"weight": 1}]}, "loras[0].name", "is required"),
        ({"loras": [{"name": "ink", "weight": "much"}]}, "loras[0].weight", "must be a valid number"),
        ({"loras": ["ink"]}, "loras[0]", "must be"),
        ({"model": "pixels", "loras": [{"name": "ink"}]}, "loras", "not available: LoRAs for models of pixart-sigma"),
        ({"model": "eye", "loras": [{"name": "ink"}]}, "loras", "is for models that draw, and eye sees"),
        ({"model": "larger", "loras": [{"name": "ink"}]}, "loras", "is for models that draw, and larger enlarges"),
        ({"model": "twin"}, "model", "'twin' is the name of a model that draws and of a vision model, whose packages"),
        ({"model": "double"}, "model", "a vision model called 'other' or an upscaler called 'third'"),
        ({"model": "house", "shapes": ["256x256"]}, "shapes[0]", "is drawn as 128x128 and enlarged by house"),
    ],
)
def test_what_cannot_be_deployed_is_refused_by_its_field(gateway, queued, params, field, reason):
    answer = deploy(gateway, **params)
    [error, *_] = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, f"params.{field}") and reason in error["message"], error
    assert queued() == 0


def test_only_keys_of_administrators_may_deploy(gateway, queued):
    body = {"kind": "deploy", "params": {"model": "deep"}}
    tries = (("/v1/jobs", body), ("/v1/jobs/dry_run", body), ("/v1/jobs/batch", {"jobs": [body]}))
    for rules in ({"scopes": ["submit"]}, {"scopes": ["submit"], "kinds": ["deploy"]}):
        made = gateway.post("/v1/keys", json={"name": "shop", **rules}).json()["key"]
        for path, sent in tries:
            answer = gateway.post(path, json=sent, headers={"X-API-Key": made})
            [error] = answer.json()["errors"]
            assert (answer.status_code, error["code"]) == (422, "not_allowed") and error["field"].endswith("kind")
            assert "needs one with the scope admin" in error["message"]
    assert queued() == 0
    rules = {"name": "ops", "scopes": ["submit", "admin"], "models": ["deep"]}
    gateway.headers["X-API-Key"] = gateway.post("/v1/keys", json=rules).json()["key"]
    assert deploy(gateway).status_code == 202
    [error] = deploy(gateway, model="eye").json()["errors"]
    assert error["field"] == "params.model" and "only deep" in error["message"]


def test_a_deployment_costs_the_images_that_it_draws(serve, settings: Settings, key: str):
    (settings.data / "catalog.toml").write_text(CATALOG)
    strict = Settings(redis_url=settings.redis_url, data=settings.data, key_units_per_day=400)
    with serve(create_app(strict)) as url, httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=20) as client:
        drawing = deploy(client, "/v1/jobs/dry_run").json()["cost"]["step_px"]
        assert drawing == 70 * 512 * 512 * 10
        assert deploy(client, "/v1/jobs/dry_run", steps=2).json()["cost"]["step_px"] == drawing / 5
        assert deploy(client, "/v1/jobs/dry_run", model="eye").json()["cost"]["step_px"] == 1_000_000
        assert deploy(client).status_code == 202  # 184 units
        answer = deploy(client, steps=20)
        assert answer.status_code == 402 and "cost units" in answer.text

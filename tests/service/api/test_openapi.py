"""The OpenAPI page shows every route, body and error; and the gateway needs no torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from models.jobs.kinds import job_kinds
from service.api.app import create_app
from service.api.job_bodies import job_body
from service.backbone.settings import Settings

ROUTES = {
    ("post", "/v1/jobs"), ("put", "/v1/jobs/{job_id}"), ("get", "/v1/jobs/{job_id}"), ("delete", "/v1/jobs/{job_id}"),
    ("get", "/v1/jobs/{job_id}/events"), ("get", "/v1/models"), ("get", "/v1/samplers"),
    ("get", "/images/{image_id}.png"), ("head", "/images/{image_id}.png"), ("get", "/images/{image_id}.jpg"),
    ("get", "/images/{image_id}.webp"), ("get", "/healthz"), ("get", "/readyz"),
    ("post", "/v1/sd/generate"), ("post", "/v1/job"), ("get", "/v1/job/{job_id}"), ("get", "/v1/sd/models"),
    ("get", "/v1/models/list"), ("get", "/v1/sd/samplers"), ("post", "/v1/inputs"), ("get", "/v1/capabilities"),
    ("get", "/v1/loras"), ("get", "/v1/embeddings"), ("get", "/v1/controlnets"), ("get", "/v1/upscalers"),
    ("get", "/v1/preprocessors"), ("get", "/v1/styles"), ("post", "/v1/prompts/rewrite"), ("post", "/v1/assist"),
    ("get", "/v1/preferences"), ("patch", "/v1/preferences"),
}  # fmt: skip
OPEN = {
    "/",
    "/images/{image_id}.png",
    "/images/{image_id}.jpg",
    "/images/{image_id}.webp",
    "/{job_id}.png",
    "/healthz",
    "/readyz",
    "/internal/ping",
}


@pytest.fixture(scope="module")
def document() -> dict:
    return create_app(Settings()).openapi()


def operations(document: dict) -> dict[tuple[str, str], dict]:
    return {(method, path): each for path, item in document["paths"].items() for method, each in item.items()}


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if "$ref" in node else set()
        return found.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_all_routes_are_there(document):
    assert set(operations(document)) >= ROUTES


def test_every_operation_is_described(document):
    found = operations(document)
    assert len({each["operationId"] for each in found.values()}) == len(found)
    for (_, path), each in found.items():
        assert each["tags"] and each["summary"] and each["description"]
        assert ("security" in each) is (path not in OPEN)
        assert all(answer["description"] for answer in each["responses"].values())


def test_every_operation_that_refuses_values_says_so(document):
    for name, each in operations(document).items():
        checked = [given for given in each.get("parameters", ()) if given["in"] == "query" and can_be_refused(given)]
        assert not checked or {"400", "422"} & set(each["responses"]), (name, checked)


def can_be_refused(parameter: dict[str, Any]) -> bool:
    """Whether a text can be no value of the parameter."""
    plain = {"title", "description", "default", "type"}
    schemas = parameter["schema"].get("anyOf", [parameter["schema"]])
    return any(set(each) - plain or each["type"] not in ("string", "null") for each in schemas)


def test_every_reference_leads_somewhere(document):
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= schemas
    assert {f"#/components/schemas/{name}" for name in ("JobBody", "Txt2ImgBody", "JobView", "Problem")} <= schemas


def test_bodies_and_errors_are_shown(document):
    create = operations(document)["post", "/v1/jobs"]
    assert create["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/JobBody")
    assert {"200", "202", "401", "409", "413", "415", "422", "503"} <= set(create["responses"])
    assert list(create["responses"]["422"]["content"]) == ["application/problem+json"]
    prodia = operations(document)["post", "/v1/sd/generate"]
    assert prodia["responses"]["400"]["content"]["text/plain"]["example"] == "Invalid Generation Parameters"
    assert set(document["components"]["securitySchemes"]) == {"Bearer", "Basic", "X-API-Key", "X-Prodia-Key"}


def test_every_kind_has_its_schema_and_an_example(document):
    content = operations(document)["post", "/v1/jobs"]["requestBody"]["content"]["application/json"]
    assert set(content["examples"]) == {kind.name for kind in job_kinds()}
    schemas = document["components"]["schemas"]
    mapping = schemas["JobBody"]["discriminator"]["mapping"]
    assert set(mapping) == {kind.name for kind in job_kinds()}
    for kind, example in content["examples"].items():
        assert job_body().model_validate(example["value"]).root.kind == kind
        params = schemas[mapping[kind].rpartition("/")[2]]["properties"]["params"]["$ref"].rpartition("/")[2]
        assert all("description" in each or "$ref" in str(each) for each in schemas[params]["properties"].values())
    assert not {"image", "mask", "strength"} & set(schemas["Txt2ImgBody"]["properties"])
    assert {"image", "strength"} <= set(schemas["Img2ImgBody"]["properties"])
    assert "mask" in schemas["InpaintBody"]["required"]


def test_the_page_is_open(anonymous):
    assert anonymous.get("/openapi.json").status_code == 200
    assert anonymous.get("/docs").status_code == 200


def test_the_gateway_needs_no_torch():
    program = (
        "import sys\n"
        "from service.api.app import create_app\n"
        "from service.backbone.settings import Settings\n"
        "create_app(Settings()).openapi()\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

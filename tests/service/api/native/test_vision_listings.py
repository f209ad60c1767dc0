"""The listing of vision models: those of the catalog and all of timm's, filtered as timm does it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.api.app import create_app

CATALOG = """
[vision.small]
repository = "timm/mobilenetv3_small_100.lamb_in1k"
licence = "apache-2.0"

[vision.gone]
file = "weights/gone.safetensors"
architecture = "resnet18"
classes = 2
"""


@pytest.fixture
def client(serve, settings, data, key):
    (data / "catalog.toml").write_text(CATALOG)
    with (
        serve(create_app(settings)) as url,
        httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=20) as client,
    ):
        yield client


def test_models_are_listed_filtered_and_refused(client, data):
    """One server serves all questions, since starting one takes longer than they do."""

    def listed(**query: object) -> dict[str, Any]:
        return client.get("/v1/vision/models", params=query).raise_for_status().json()

    small, gone, eyes = listed(catalog=True)["models"]
    assert small["is_in_catalog"] and small["architecture"] == "mobilenetv3_small_100" and small["problem"] is None
    assert (small["input_size"], small["classes"]) == ([3, 224, 224], 1000)
    assert gone["problem"] == "its file of weights is missing" and gone["classes"] == 2
    assert (eyes["name"], eyes["licence"], eyes["problem"]) == ("photogram-eyes", "Apache-2.0", None)
    assert str(data) not in client.get("/v1/vision/models").text

    found = listed(filter="RESNET18*", catalog=False)["models"]
    assert {"resnet18", "resnet18d"} <= {each["name"] for each in found}
    (resnet,) = (each for each in found if each["name"] == "resnet18")
    assert resnet["licence"] == "apache-2.0" and "a1_in1k" in resnet["pretrained"]

    everything, without = listed(limit=3), listed(pretrained=False)
    assert len(everything["models"]) == 3 and everything["total"] > 1300
    assert without["total"] > 0 and not any(each["pretrained"] for each in without["models"])

    for query in ({"filter": "x" * 101}, {"limit": 0}, {"limit": 501}, {"pretrained": "perhaps"}, {"name": "x"}):
        answer = client.get("/v1/vision/models", params=query)
        assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert listed(filter="*a" * 50)["total"] == 0

    job = {"kind": "describe_model", "params": {"model": "gone"}}
    refused = client.post("/v1/jobs", json=job)
    assert refused.status_code == 422 and "its file of weights is missing" in refused.text
    texts = {"image": "https://example.org/a.png", "texts": ["a cat"]}
    for params, reason in (
        ({"model": "small"}, "reads no texts; 'photogram-eyes' does"), ({"texts": [" "]}, "must have a word"),
        ({"texts": ["x" * 501]}, "may have at most 500 characters"), ({"texts": []}, "unless there are texts"),
    ):  # fmt: skip
        refused = client.post("/v1/jobs/dry_run", json={"kind": "similarity", "params": texts | params})
        assert refused.status_code == 422 and reason in refused.text

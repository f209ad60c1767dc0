"""The device of a worker: which one it is, what it is called, and which part of its memory models may keep."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from redis import Redis

from models.diffusion.engine import Engine
from service.backbone.catalog_file import CatalogFile
from service.backbone.keyspace import worker_status_key
from service.backbone.ledger import Ledger
from service.backbone.settings import Settings, SettingsError
from workers.diffusion import EngineExecutor, _budget_bytes, describe_device, pick_device
from workers.warm import WarmRouting

GPU = torch.device("cuda", 1)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch would say on a machine with two GPUs of 1000 bytes each."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Fake GPU")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=1000))


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("name", "expected"), [("auto", "cuda"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
)
def test_the_setting_names_the_device(name: str, expected: str) -> None:
    assert pick_device(name) == torch.device(expected)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["cuda:2", "cuda:x", "gpu"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"PHOTOGRAM_DEVICE: there is no device {name!r}"):
        pick_device(name)


@pytest.mark.usefixtures("two_gpus")
def test_the_memory_of_a_device_is_divided_among_its_workers() -> None:
    assert _budget_bytes(Settings(), GPU) == 500
    assert _budget_bytes(Settings(device_workers=2), GPU) == 250
    assert _budget_bytes(Settings(device_workers=2, model_bytes=400), GPU) == 400, "the setting is of one worker"
    cpu = torch.device("cpu")
    assert _budget_bytes(Settings(device_workers=4), cpu) == _budget_bytes(Settings(), cpu) // 4


@pytest.mark.usefixtures("two_gpus")
def test_a_device_is_named_with_its_model_and_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert describe_device(GPU) == "cuda:1 (Fake GPU)"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaa")
    assert describe_device(GPU) == "cuda:1 (Fake GPU; of GPU-aaa)"
    assert describe_device(torch.device("cpu")) == "cpu"


def test_the_status_of_a_worker_names_its_device(redis: Redis, tmp_path: Path) -> None:
    engine = Engine(lambda spec: pytest.fail("nothing is loaded"))
    executor = EngineExecutor(engine, CatalogFile(tmp_path / "catalog.toml"), Ledger(redis, 60), "cuda:1 (Fake GPU)")
    WarmRouting(redis, "one", "photogram", executor.status).beat()
    executor.close()
    status = json.loads(redis.hget(worker_status_key("photogram"), "one"))  # type: ignore[arg-type]
    assert status["device"] == "cuda:1 (Fake GPU)"

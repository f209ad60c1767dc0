"""Jobs that deploy, in a real worker on tiny models: their stages, their results, and what they leave."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from transformers import BertModel

from models.catalog.catalog import Catalog
from models.deploy.store import SHEET, PackageStore
from models.errors import ChecksFailed
from models.jobs.deploying import DeployRequest
from models.jobs.finetuning import TRAINING_QUEUE
from models.jobs.params import LoraUse
from models.jobs.records import JobRecord, JobStatus
from models.jobs.tickets import complete
from service.backbone.keyspace import events_key
from service.backbone.settings import Settings
from service.backbone.store import FileStore
from tests.models.diffusion.upscaling.tiny_upscalers import compact, write
from tests.models.vision.digits import save_small
from tests.tiny import PX, build_tiny_house, build_tiny_lora
from tests.workers.conftest import World
from workers import deploying
from workers.functions import FunctionCall
from workers.processes import JobProcess

LONG_S = 480.0
"""A deployment imports torch and OpenVINO, which takes long beside other tests."""
pytestmark = pytest.mark.timeout(1200)
TARGET = "openvino-f32"
LONG = "long" * 64
PARTS = ("text_encoder", "vae_decoder")
"""Those that are exported within seconds."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A catalog with a tiny model that draws, one that sees, one that enlarges, and LoRAs."""
    folder = tmp_path_factory.mktemp("models")
    encoder = build_tiny_house(folder / "tiny") / "text_encoder"
    BertModel.from_pretrained(encoder).save_pretrained(encoder)  # with the pooler, which is random where it is missing
    style = build_tiny_lora(folder / "style.safetensors", folder / "tiny")
    shutil.copyfile(style, folder / "other.safetensors")
    eye, upscaler = save_small(folder / "eye"), write(compact, folder / "larger.safetensors")
    return (
        f'[models.tiny]\nfolder = "{folder / "tiny"}"\nfamily = "stable-diffusion"\naliases = ["small"]\n'
        f"[models.tiny.defaults]\nwidth = {2 * PX}\nheight = {2 * PX}\nnum_inference_steps = 2\n"
        f'[vision.eye]\nfolder = "{eye}"\n[upscalers.larger]\nfile = "{upscaler}"\n'
        f'[loras.style]\nfile = "{style}"\naliases = ["ink"]\n[loras.{LONG}]\nfile = "{folder / "other.safetensors"}"\n'
    )


@pytest.fixture
def world(redis_url: str, tmp_path: Path, models: str) -> Iterator[World]:
    (tmp_path / "catalog.toml").write_text(models)
    with World(redis_url, tmp_path) as made:
        made.queue = TRAINING_QUEUE
        yield made


def submit(world: World, model: str = "tiny", **params: Any) -> str:
    return world.submit_request(DeployRequest(model=model, **params))


def over(world: World, job: str) -> JobRecord:
    (record,) = world.until_over(job, timeout_s=LONG_S)
    return record


def notes(world: World, job: str) -> list[dict[str, Any]]:
    found = world.redis.xrange(events_key(job))
    return [json.loads(fields[b"data"]) for _, fields in found if fields[b"kind"] == b"note"]


def until_stage(world: World, job: str, stage: str) -> None:
    world.until(lambda: (world.record(job).noted or {}).get("stage") == stage or _is_over(world, job), LONG_S)
    assert not _is_over(world, job), world.record(job).error_message


def _is_over(world: World, job: str) -> bool:
    return world.record(job).status.is_terminal


def packages(world: World) -> list[str]:
    """All that lies where packages are, without locks."""
    return sorted(path.name for path in (world.data / "deployed").glob("*/[!.]*"))


def left(world: World) -> list[str]:
    """What deployments have left of their own, beside the lock."""
    return [path.name for path in (world.data / "training").glob("*") if path.name != ".lock"]


def deployments(worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(worker.pid).children(recursive=True)


def test_a_model_that_draws_is_deployed_and_its_stages_are_told(world: World) -> None:
    world.set_environment(PHOTOGRAM_JOB_TIMEOUT_S="1")  # of drawings; a deployment may take longer
    job = submit(world, "small", parts=PARTS, shapes=(f"{3 * PX}x{2 * PX}",))
    world.start_worker()
    record = over(world, job)
    assert record.status is JobStatus.SUCCEEDED, record.error_message
    document: Any = record.document
    assert (document["model"], document["target"], document["passed"], document["forced"]) == (
        "tiny", TARGET, True, False,
    )  # fmt: skip
    assert document["failures"] == [] and (document["lowest_psnr_db"] or 99) > 50
    assert document["parts"] == list(PARTS)
    assert set(document["images_per_s"]) == {"torch", "built-in", "deployed"}
    package = PackageStore(world.data / "deployed").place("tiny", TARGET)
    manifest = json.loads((package / "deploy.json").read_text())
    assert manifest["shapes"] == [[3 * PX, 2 * PX]]
    assert document["size_bytes"] == sum(
        path.stat().st_size for path in package.iterdir() if path.name != "deploy.json"
    )
    told = notes(world, job)
    stages = list(dict.fromkeys(note["stage"] for note in told))
    assert stages == ["loading", "recording", "exporting", "checking", "drawing", "measuring"]
    assert {"stage", "done", "total", "part"} <= told[-1].keys() and record.step == record.steps == 100
    (file,) = record.files
    with Image.open(BytesIO(FileStore(world.data / "files").find(file.file_id).read())) as sheet:
        assert file.name == "comparison.png" and sheet.width > 2 * PX
    assert packages(world) == [TARGET] and left(world) == []


def test_loras_are_baked_in_and_told(world: World) -> None:
    world.set_environment(PHOTOGRAM_BACKEND="eager")  # nothing else is exported to be measured beside the package
    uses = (LoraUse(name="INK", weight=0.5), LoraUse(name="style", weight=0.3, text_encoder_weight=0.1))
    size = f"{2 * PX}x{2 * PX}"
    job = submit(world, "small", parts=("text_encoder",), shapes=(size,), loras=uses, force=True)
    world.start_worker()
    record = over(world, job)
    assert record.status is JobStatus.SUCCEEDED, record.error_message
    name, baked = "tiny+style@0.8,0.6", [{"name": "style", "weight": 0.8, "text_encoder_weight": 0.6}]
    document: Any = record.document
    assert (document["model"], document["base"], document["loras"]) == (name, "tiny", baked)
    assert document["passed"] and document["served"]
    store = PackageStore(world.data / "deployed")
    manifest = store.read(name, TARGET).manifest
    assert (manifest["model"], manifest["base"], manifest["loras"]) == (name, "tiny", baked)
    assert store.models() == [name], "the model without LoRAs has no package"


def test_a_model_that_sees_and_an_upscaler_are_deployed(world: World) -> None:
    jobs = submit(world, "eye", backend="onnxruntime"), submit(world, "larger")
    world.start_worker()
    record, enlarging = world.until_over(*jobs, timeout_s=LONG_S)
    assert record.status is JobStatus.SUCCEEDED, record.error_message
    assert enlarging.status is JobStatus.SUCCEEDED, enlarging.error_message
    enlarged: Any = enlarging.document
    assert (enlarged["target"], enlarged["passed"], enlarged["parts"]) == (TARGET, True, ["network"])
    assert [file.name for file in enlarging.files] == ["comparison.png"]
    document: Any = record.document
    assert (document["target"], document["passed"], record.files) == ("onnxruntime-f32", True, ())
    assert packages(world) == ["onnxruntime-f32", TARGET]


def test_what_cannot_be_deployed_is_told(world: World, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['onnxruntime'] = None")  # as if not installed
    world.set_environment(PYTHONPATH=os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    jobs = (
        submit(world, backend="onnxruntime"),
        submit(world, parts=("unet", "text_encoder_2"), precision="int8"),
        submit(world, "eye"),
        submit(world, loras=(LoraUse(name=LONG),)),
    )
    with PackageStore(world.data / "deployed").writing("eye", TARGET):
        world.start_worker()
        records = world.until_over(*jobs, timeout_s=LONG_S)
    assert [(each.status, each.error_code) for each in records] == [(JobStatus.FAILED, "deploy_failed")] * 4
    lacking, without_part, busy, long = (str(each.error_message) for each in records)
    assert lacking.startswith("onnxruntime-f32 cannot be made here: onnxruntime is not installed")
    assert without_part == "the model has no part text_encoder_2"
    assert "eye is being deployed to openvino-f32 by another process" in busy
    assert long.endswith("cannot be stored: the name is too long for a folder")
    assert packages(world) == [TARGET] and left(world) == []


def test_a_lora_that_is_gone_when_the_job_runs_is_told(world: World, models: str) -> None:
    job = submit(world, loras=(LoraUse(name="style"),))
    (world.data / "catalog.toml").write_text(models.replace("style", "stile"))
    world.start_worker()
    record = over(world, job)
    assert (record.status, record.error_code) == (JobStatus.FAILED, "deploy_failed")
    assert str(record.error_message).startswith("there is no LoRA 'style' (did you mean 'stile'?)")
    assert packages(world) == [] and left(world) == []


def test_a_deployment_is_canceled_in_the_middle_and_begins_again_after_its_worker_died(world: World) -> None:
    job, worker = submit(world, parts=PARTS), world.start_worker()
    until_stage(world, job, "exporting")
    world.cancel(job)
    assert over(world, job).status is JobStatus.CANCELED
    world.until(lambda: not deployments(worker) and not left(world) and not packages(world))
    job = submit(world, parts=PARTS)
    until_stage(world, job, "exporting")
    (process,) = deployments(worker)
    world.kill(worker)
    world.until(lambda: not process.is_running())
    assert left(world) and {name.endswith(".partial") for name in packages(world)} == {True}
    world.start_worker()
    record = over(world, job)
    assert record.status is JobStatus.SUCCEEDED, record.error_message
    assert packages(world) == [TARGET] and left(world) == []


def test_a_deployment_that_takes_too_long_leaves_nothing(world: World) -> None:
    world.set_environment(PHOTOGRAM_TRAINING_TIMEOUT_S="1")
    job, worker = submit(world), world.start_worker()
    record = over(world, job)
    assert (record.status, record.error_code) == (JobStatus.FAILED, "deadline_exceeded")
    world.until(lambda: not deployments(worker) and not left(world))
    assert packages(world) == []


def test_a_worker_that_deploys_has_no_torch_itself() -> None:
    code = "import sys, workers.deploying; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


CHILD = """
import sys, time
from models.job_process import run


def work(order, tell):
    print("a library prints")
    tell({"event": "stage", "stage": "checking", "done": 1, "total": 2, "part": "unet", "share": 0.5, "off": 1e999})
    found = {"passed": False, "forced": FORCED, "recipe_only": RECIPE, "failures": ["unet: too far", "a cat: 9 dB"]}
    tell({"event": "deployed", **found})


code = run(work, lambda error: None)
time.sleep(0.5)  # an end that takes long is no failure
sys.exit(code)
"""


def ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, folder: Path, *, force: bool, is_recipe: bool = False
) -> tuple[Any, list[Any]]:
    """What a job gives whose process ends so: a package that did not pass."""
    name = f"child_that_is_forced_{force}_and_a_recipe_{is_recipe}"  # one module each: Python caches what it compiled
    (folder / f"{name}.py").write_text(CHILD.replace("FORCED", str(force)).replace("RECIPE", str(is_recipe)))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(deploying, "_DEPLOYMENT", JobProcess(name, "deployment"))
    params = complete(DeployRequest(model="house", force=force), Catalog({}))
    package = PackageStore(settings.packages_folder).place("house", TARGET)
    package.mkdir(parents=True, exist_ok=True)
    (package / SHEET).write_bytes(b"a sheet")
    told: list[Any] = []
    call = FunctionCall(
        kind="deploy", job_id="1", execution_id="2", owner="me", params=params, catalog=Catalog({}), images={},
        report=lambda step, steps: told.append((step, steps)), tell=told.append, open_source=lambda source: BytesIO(),
        settings=settings, is_canceled=lambda: False,
    )  # fmt: skip
    try:
        return deploying.deploy(call), told
    except ChecksFailed as failure:
        return failure, told


def test_a_package_that_does_not_pass_fails_its_job_unless_it_is_forced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failure, told = ended(settings, monkeypatch, tmp_path, force=False)
    assert isinstance(failure, ChecksFailed) and failure.code == "checks_failed"
    assert str(failure).endswith("is not served: unet: too far; a cat: 9 dB")
    assert failure.document["failures"] == ["unet: too far", "a cat: 9 dB"]
    assert [(file.name, file.data) for file in failure.files] == [("comparison.png", b"a sheet")]
    assert told == [
        (50, 100), {"event": "stage", "stage": "checking", "done": 1, "total": 2, "part": "unet", "off": None},
    ]  # fmt: skip
    recipe, _ = ended(settings, monkeypatch, tmp_path, force=False, is_recipe=True)
    assert recipe.document["recipe_only"] and not recipe.document["passed"], "it is no failure"
    output, _ = ended(settings, monkeypatch, tmp_path, force=True)
    assert (output.document["passed"], output.document["forced"]) == (False, True)
    assert output.files == failure.files

"""The function of the job kind ``deploy``: has the package made, tells the stages, and gives back what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.deploy.orders import Order
from models.deploy.shapes import read_shape
from models.deploy.store import SHEET, PackageStore
from models.errors import ChecksFailed, DeployFailed
from models.jobs.deploying import PROGRESS_STEPS, DeployParams
from models.jobs.results import FileOutput, JobOutput
from service.backbone.settings import Settings
from workers.functions import FunctionCall
from workers.processes import FOLDER, JobProcess
from workers.scratch import disk_problems_as, scratch_folder

_DEPLOYMENT = JobProcess("models.deploy.process", "deployment")


def deploy(call: FunctionCall) -> JobOutput:
    """Deploy in a process of its own; the package is published when this returns.

    Raises:
        JobCanceled: the job was canceled; nothing of an unfinished package is left.
        ChecksFailed: the package did not pass its checks and is not served.
        JobFailure: no package can be made.
    """
    params = call.params
    assert isinstance(params, DeployParams)
    store = PackageStore(call.settings.packages_folder)
    try:
        with disk_problems_as(DeployFailed, "the package"), scratch_folder(call.settings.data / FOLDER) as scratch:
            document = _followed(call, _order(params, call.settings), scratch)
    finally:
        store.clean(params.stored_name, params.target)
    files = _sheet(store.place(params.stored_name, params.target))
    if not (document["passed"] or document["forced"] or document["recipe_only"]):
        told = f"the package did not pass its checks and is not served: {'; '.join(document['failures'])}"
        raise ChecksFailed(told, document=document, files=files)
    return JobOutput(document=document, files=files)


def _order(params: DeployParams, settings: Settings) -> Order:
    return Order(
        model=params.model,
        backend=params.backend,
        precision=params.precision,
        steps=params.steps,
        parts=params.parts,
        shapes=tuple(map(read_shape, params.shapes)),
        loras=params.loras,
        is_forced=params.force,
        catalog=settings.catalog_path.absolute(),
        packages=settings.packages_folder.absolute(),
        cache=settings.backends_folder.absolute(),
        built_in=settings.backend,
    )


def _followed(call: FunctionCall, order: Order, scratch: Path) -> dict[str, Any]:
    """What came of the deployment; its stages are reported meanwhile."""
    document: dict[str, Any] = {}
    for event in _DEPLOYMENT.events(call, order.to_line(), scratch):
        if event["event"] == "stage":
            call.report(round(event.pop("share") * PROGRESS_STEPS), PROGRESS_STEPS)
            call.tell(event)
        elif event["event"] == "deployed":
            document = {name: value for name, value in event.items() if name != "event"}
    return document


def _sheet(package: Path) -> tuple[FileOutput, ...]:
    """The images of a model that draws beside those of torch."""
    sheet = package / SHEET
    return (FileOutput(SHEET, "image/png", sheet.read_bytes()),) if sheet.is_file() else ()

"""Runs the function of one agent job in this process, which kills itself once, around a step that was not taken before.

Arguments: job id, execution id, folder for marks, `before` or `after`. Prints the files of the result as JSON.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from models.catalog.catalog import Catalog
from service.backbone.agent_jobs import AgentRecord
from service.backbone.configuration import configure
from service.backbone.connections import connect
from service.backbone.ledger import Ledger
from workers.agent.job import run_agent
from workers.functions import FunctionCall

keep_step = AgentRecord.keep_step


def die_once(mark: Path) -> None:
    """Die, unless a process has died at this place before."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def main(job_id: str, execution_id: str, marks: str) -> None:
    settings = configure().settings
    assert settings.redis_url is not None

    def keep(self: AgentRecord, name: str, step: Any) -> bool:
        place = name.replace("/", "_")
        if marks:
            die_once(Path(marks, f"{place}.before"))
        kept = keep_step(self, name, step)
        if marks:
            die_once(Path(marks, f"{place}.after"))
        return kept

    AgentRecord.keep_step = keep  # type: ignore[method-assign]
    ledger = Ledger(connect(settings.redis_url, "test"), 600)
    assert ledger.start(job_id, execution_id) is not None
    record = ledger.read(job_id)
    assert record is not None
    call = FunctionCall(
        kind=record.kind, job_id=job_id, execution_id=execution_id, owner=record.owner, params=record.params,
        catalog=Catalog.load(settings.catalog_path), images={}, report=lambda *_: None, tell=lambda _: None,
        open_source=lambda _: BytesIO(), settings=settings, is_canceled=lambda: False,
    )  # fmt: skip
    output = run_agent(call)
    images = [base64.b64encode(image.tobytes()).decode() for image in output.images]
    files = {each.name: base64.b64encode(each.data).decode() for each in output.files}
    print(json.dumps({"document": output.document, "images": images, "files": files}))


if __name__ == "__main__":
    main(*sys.argv[1:])

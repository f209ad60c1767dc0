"""What the walls refuse, found by trying: a cell attempts to get out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workers.agent.tool_server.cells import run_cell
from workers.agent.tool_server.errors import Refused
from workers.agent.tool_server.folder import Folder
from workers.agent.tool_server.settings import ToolSettings

_ATTEMPTS = Path(__file__).with_name("attempts.py")


def attempts(settings: ToolSettings, folder: Folder) -> dict[str, dict[str, Any]]:
    """What a cell of Python tried, each with ``refused`` and ``how``.

    Raises:
        Refused: no cell can be run here.
    """
    limits = f"{settings.processes}, {settings.folder.file_bytes}, {settings.memory_bytes}"
    finished = run_cell(f"{_ATTEMPTS.read_text()}\nmain({limits})", settings, folder)
    try:
        found: dict[str, dict[str, Any]] = json.loads(finished.output)
    except ValueError as error:
        raise Refused(f"the attempts could not be made: the cell ended {finished.how}") from error
    return found

"""``python -m workers.agent.tool_server SETTINGS``: the tools of one agent job, over standard input and output.

``SETTINGS`` is the JSON document of :class:`workers.agent.tool_server.settings.ToolSettings`; it holds no secret.
"""

from __future__ import annotations

import os
import sys

from workers.agent.tool_server.settings import ToolSettings


def main() -> int:
    """Serve until standard input ends."""
    try:
        settings = ToolSettings.from_json(*sys.argv[1:])
    except (TypeError, ValueError) as error:
        print(f"tool server: {error}", file=sys.stderr)
        return 2
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")  # walls are entered by one thread, and held by all
    from workers.agent.tool_server.serving import build_server
    from workers.agent.tool_server.walls import enter_walls

    try:
        folder, report = enter_walls(settings)
    except OSError as error:
        print(f"tool server: the workspace cannot be used: {error.strerror}", file=sys.stderr)
        return 2
    folder.tidy()
    build_server(settings, folder, report).run("stdio")
    return 0


if __name__ == "__main__":
    sys.exit(main())

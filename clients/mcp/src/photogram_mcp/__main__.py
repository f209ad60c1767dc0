"""``photogram mcp``: the MCP server for an assistant on this machine, over standard input and output."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context
from photogram import AsyncPhotogram

from photogram_mcp.server import build_server
from photogram_mcp.sources import Sources


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(
        prog="photogram mcp",
        description="Offer Photogram's tools to an assistant that starts this command, by MCP over standard input and "
        "output. Other assistants connect to /mcp of the server.",
    )
    parser.add_argument("--url", help="the server (default: PHOTOGRAM_URL, then that of the last photogram up)")
    parser.add_argument("--api-key", help="(default: PHOTOGRAM_API_KEY)")
    parser.add_argument(
        "--files", type=Path, metavar="FOLDER", help="let tools send images from this folder (default: from none)"
    )
    options = parser.parse_args(argv)
    if options.files is not None and not options.files.is_dir():
        parser.error(f"--files: {options.files} is no folder")
    try:
        client = AsyncPhotogram(options.url or os.environ.get("PHOTOGRAM_URL") or noted_url(), options.api_key)
    except ValueError as error:
        parser.error(str(error))

    @asynccontextmanager
    async def one_client(context: Context[Any, Any]) -> AsyncIterator[AsyncPhotogram]:
        yield client

    build_server(one_client, Sources(options.files)).run("stdio")
    return 0


def noted_url() -> str | None:
    """The URL of the server that was started last on this machine."""
    from photogram_cli.user_config import noted_url as noted

    return noted()


if __name__ == "__main__":
    sys.exit(main())

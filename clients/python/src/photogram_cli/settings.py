"""The command `photogram config` where the server is not installed: where the client's settings come from."""

import argparse
import os

from photogram import Photogram

from .output import labelled, print_lines, to_json
from .user_config import user_config_path


def show(options: argparse.Namespace, client: Photogram) -> None:
    """The address of the server, whether there is an API key, and the file of the user's configuration."""
    has_key = bool(options.api_key or os.environ.get("PHOTOGRAM_API_KEY"))
    found = {"url": client.base_url, "key": "set" if has_key else "not set", "file": str(user_config_path())}
    print_lines([to_json(found)] if options.json else [labelled(name, value) for name, value in found.items()])

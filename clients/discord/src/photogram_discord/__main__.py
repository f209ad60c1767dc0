"""The command ``photogram-discord``."""

from __future__ import annotations

import sys

from .bot import PhotogramBot
from .config import Config


def main() -> int:
    """Run the bot until it is interrupted; returns the exit code."""
    try:
        config = Config.from_environment()
    except ValueError as error:
        print(f"photogram-discord: {error}", file=sys.stderr)
        return 2
    PhotogramBot(config).run(config.token)
    return 0


if __name__ == "__main__":
    sys.exit(main())

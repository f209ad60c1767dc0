"""The command ``photogram-discord``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

import aiohttp
import discord

from .bot import PhotogramBot
from .config import Config


def main() -> int:
    """Run the bot until it is interrupted or terminated; returns the exit code.

    2 means that a setting is wrong, and 1 that Discord cannot be reached at the start.
    """
    discord.utils.setup_logging()
    try:
        config = Config.from_environment()
        asyncio.run(run(PhotogramBot(config), config.token))
    except discord.LoginFailure:
        return _failed("Discord does not accept the token in PHOTOGRAM_DISCORD_TOKEN", 2)
    except (ValueError, OSError, aiohttp.ClientError, discord.HTTPException) as error:
        return _failed(str(error), 2 if isinstance(error, ValueError) else 1)
    except KeyboardInterrupt:
        pass
    return 0


async def run(bot: PhotogramBot, token: str) -> None:
    """Run `bot` until SIGTERM, and close it, so that its next start takes up what is pending."""
    async with bot:
        running = asyncio.create_task(bot.start(token))
        with contextlib.suppress(
            NotImplementedError, RuntimeError
        ):  # on Windows, and in other threads than the main one
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await running


def _failed(reason: str, code: int) -> int:
    print(f"photogram-discord: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

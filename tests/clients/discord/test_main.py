"""The command ``photogram-discord``: its settings, its start and its end."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from photogram_discord import Config, PhotogramBot
from photogram_discord.__main__ import main, run

from tests.clients.discord.conftest import BotRig
from tests.clients.wire_server import WireServer
from tests.discord_standin import DiscordStandIn

pytestmark = pytest.mark.usefixtures("no_handlers")
TOKEN = {"PHOTOGRAM_DISCORD_TOKEN": "secret-1"}


@pytest.fixture
def no_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command adds no handler to the root logger, which would outlive the test."""
    monkeypatch.setattr("discord.utils.setup_logging", lambda: None)


def test_the_token_and_the_keys_are_not_shown():
    config = Config.from_environment(TOKEN | {"PHOTOGRAM_API_KEY": "secret-2"})
    assert "secret" not in repr(config) and config.url == "http://127.0.0.1:8000"


def test_secrets_may_be_in_files(tmp_path: Path):
    token, key = tmp_path / "token", tmp_path / "key"
    token.write_text("secret-1\n")
    key.write_text("secret-2\n")
    files = {"PHOTOGRAM_DISCORD_TOKEN_FILE": str(token), "PHOTOGRAM_API_KEY_FILE": str(key)}
    config = Config.from_environment(files)
    assert (config.token, config.api_key) == ("secret-1", "secret-2")
    assert Config.from_environment(files | {"PHOTOGRAM_API_KEY": "secret-3"}).api_key == "secret-3"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "PHOTOGRAM_DISCORD_TOKEN is not set"),
        ({"PHOTOGRAM_DISCORD_TOKEN": " "}, "PHOTOGRAM_DISCORD_TOKEN is not set"),
        ({"PHOTOGRAM_DISCORD_TOKEN_FILE": "/no/such/file"}, "PHOTOGRAM_DISCORD_TOKEN_FILE names cannot be read"),
        (TOKEN | {"PHOTOGRAM_DISCORD_DAILY_IMAGES": "many"}, "whole number"),
        (TOKEN | {"PHOTOGRAM_DISCORD_MODERATION": "no_such_module:function"}, "module:function"),
    ],
)
def test_wrong_settings_end_the_command_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    variables: dict[str, str], message: str,
):  # fmt: skip
    monkeypatch.delenv("PHOTOGRAM_DISCORD_TOKEN", raising=False)
    for name, value in (variables | {"PHOTOGRAM_DISCORD_DATA": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    assert main() == 2
    assert message in capsys.readouterr().err


async def test_a_wrong_token_ends_the_command_with_a_sentence(
    discord: DiscordStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PHOTOGRAM_DISCORD_TOKEN", "another-token")
    monkeypatch.setenv("PHOTOGRAM_DISCORD_DATA", str(tmp_path))
    assert await asyncio.to_thread(main) == 2
    assert capsys.readouterr().err.endswith("Discord does not accept the token in PHOTOGRAM_DISCORD_TOKEN\n")


async def test_a_termination_closes_the_bot(discord: DiscordStandIn, rig: BotRig, server: WireServer):
    bot = PhotogramBot(Config(**rig.settings))
    running = asyncio.create_task(run(bot, discord.token))
    await discord.until_ready()
    signal.raise_signal(signal.SIGTERM)
    await running
    assert bot.is_closed()

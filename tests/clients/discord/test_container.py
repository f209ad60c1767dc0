"""The compose file of the bot names only variables that the bot reads."""

from __future__ import annotations

from pathlib import Path

import yaml
from photogram_discord import Config

DOCKER = Path(__file__).parents[3] / "docker"


class Noted(dict[str, str]):
    """Variables that note which ones were asked for."""

    def __init__(self, given: dict[str, str]) -> None:
        super().__init__(given)
        self.asked: set[str] = set()

    def get(self, name: str, default: str | None = None) -> str | None:
        self.asked.add(name)
        return super().get(name, default)


def test_the_compose_file_names_variables_that_the_bot_reads(tmp_path: Path):
    composed = yaml.safe_load((DOCKER / "compose.discord.yaml").read_text())
    bot = composed["services"]["discord"]
    token = tmp_path / "token"
    token.write_text("secret")
    variables = Noted({"PHOTOGRAM_DISCORD_TOKEN_FILE": str(token)})
    Config.from_environment(variables)
    assert set(bot["environment"]) <= variables.asked
    assert set(bot["secrets"]) == set(composed["secrets"])
    assert (DOCKER.parent / bot["build"]["dockerfile"]).is_file()

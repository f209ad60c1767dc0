"""Options of sibling commands: each of the server takes ``--data``, each of the client the server and its key."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points

import pytest
from photogram_cli.parser import build_parser

from service.commands import config, keys, llm, models, storage, up, vision

WITH_PARSER = {"config": config, "keys": keys, "llm": llm, "models": models, "storage": storage, "up": up,
               "vision": vision}  # fmt: skip
FLAGS = {"vision": "--data-folder"}
"""The option of a command whose ``--data`` is something else."""
NO_SERVER = {"completion"}
"""Commands of the client that need no server."""


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all subcommands, or ``parser`` if it has none."""
    groups = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for command in group.choices.values():
            yield from leaves(command)


def flags(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


def of_the_server() -> list[str]:
    """The names of the commands of this distribution; others may add some."""
    found = entry_points(group="photogram.commands")
    return sorted(each.name for each in found if each.value.startswith(("service.", "workers.")))


@pytest.mark.parametrize("name", of_the_server())
def test_every_command_of_the_server_takes_the_data_folder(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    flag = FLAGS.get(name, "--data")
    if name in WITH_PARSER:
        parser = WITH_PARSER[name]._parser()
        assert all(flag in flags(each) for each in (parser, *leaves(parser)))
        return
    with pytest.raises(SystemExit):
        import_module("workers.__main__" if name == "worker" else f"service.commands.{name}").main(["--help"])
    assert f"{flag} FOLDER" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [
    ["--data", "a", "list"], ["list", "--data", "a"], ["--data", "b", "list", "--data", "a"],
])  # fmt: skip
def test_the_option_may_come_before_or_after_the_subcommand(arguments: list[str]) -> None:
    assert keys._parser().parse_args(arguments).data == "a"
    assert keys._parser().parse_args(["list"]).data is None


def test_every_command_of_the_client_takes_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("photogram_cli.parser.found_commands", dict)
    (commands,) = (each for each in build_parser("1")._actions if isinstance(each, argparse._SubParsersAction))
    found = [command for name, command in commands.choices.items() if name not in NO_SERVER]
    lacking = {
        each.prog: missing
        for command in found
        for each in leaves(command)
        if (missing := {"--url", "--api-key", "--json"} - flags(each))
    }
    assert lacking == {}

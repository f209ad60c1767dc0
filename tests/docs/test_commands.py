"""The commands that README.md, CHANGELOG.md and docs/ name in their prose exist, with their verbs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from photogram_cli.parser import build_parser

from service.commands import config, deploy, keys, llm, models, storage, vision
from tests.docs.test_documents import PAGES
from tests.e2e.conftest import ROOT

SERVERS = {
    "config": config, "deploy": deploy, "keys": keys, "llm": llm, "models": models, "storage": storage,
    "vision": vision,
}  # fmt: skip
NAMED = re.compile(r"\bphotogram ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")


def verbs_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return dict(next(found, argparse._SubParsersAction([], "", argparse.ArgumentParser)).choices)


def wrong_names(text: str) -> Iterator[str]:
    """What code in the prose names as a command or a verb, and is none."""
    commands = verbs_of(build_parser("1"))
    for code in re.findall(r"`(photogram [^`\n]+)`", text):
        for command, verb in NAMED.findall(code):
            parser = SERVERS[command]._parser() if command in SERVERS else commands.get(command)
            verbs = verbs_of(parser) if parser else {}
            if parser is None or (verb and verbs and verb not in verbs):
                yield code


@pytest.mark.parametrize("page", [ROOT / "CHANGELOG.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_prose_exist(page: Path) -> None:
    assert list(wrong_names(page.read_text(encoding="utf-8"))) == []

"""The generated modules are what `python -m scripts.client` writes now."""

import photogram
from photogram import Photogram
from photogram_cli.parameters import KINDS
from photogram_cli.parser import build_parser

from models.jobs.kinds import BUILT_IN_KINDS
from scripts.client.generated import generated_modules
from scripts.client.parameters import own_requests, served_kinds


def test_the_modules_are_up_to_date():
    stale = [path.name for path, text in generated_modules().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run python -m scripts.client"


def test_every_kind_has_a_command_and_a_method():
    names = [kind.name for kind in served_kinds()]
    assert [kind.name for kind in KINDS] == names and {"face_swap"} == {kind.name for kind in BUILT_IN_KINDS} - {*names}
    [commands] = [action for action in build_parser("0")._actions if action.dest == "==SUPPRESS=="]
    own = {kind.name for kind in own_requests().values()}
    assert {"generate", "edit", "inpaint", *(name.replace("_", "-") for name in own)} <= set(commands.choices)
    assert all(callable(getattr(Photogram, name)) for name in own)
    assert own <= set(photogram.SHARED)

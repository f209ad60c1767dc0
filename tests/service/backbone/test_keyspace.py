"""The keyspace: the table in its docstring has every key, and no other module spells one."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from service.backbone import keyspace

ROOT = Path(__file__).parents[3]
KEY = re.compile(r"""["'](?:photogram|rq):[a-z]""")


def names() -> list[str]:
    """Every key and channel that the module names, with ``*`` for what varies."""
    constants = [
        value for value in vars(keyspace).values() if isinstance(value, str) and value.startswith("photogram:")
    ]
    functions = [
        value for name, value in inspect.getmembers(keyspace, inspect.isfunction)
        if not name.startswith("_") and value.__module__ == keyspace.__name__
    ]  # fmt: skip
    made = []
    for function in functions:
        required = [each for each in inspect.signature(function).parameters.values() if each.default is each.empty]
        made.append(function(*("*" for _ in required)))
    return constants + made


def test_every_key_is_in_the_table() -> None:
    table = (
        re.sub(r"<[a-z0-9]+>", "*", keyspace.__doc__ or "")
        .replace("rq:queue:*", "rq:queue:photogram")
        .replace("rq:wip:*", "rq:wip:photogram")
    )
    assert len(names()) > 15
    assert [name for name in names() if f"``{name}``" not in table] == []


def test_no_key_is_named_twice() -> None:
    assert len(set(names())) == len(names())


def test_keys_of_other_queues_are_their_own() -> None:
    assert keyspace.workers_key() == "photogram:workers"
    assert keyspace.workers_key("toys") == "photogram:workers:queue:toys"
    assert keyspace.worker_status_key("toys") != keyspace.worker_status_key()


def test_no_other_module_spells_a_key() -> None:
    spelling = [
        str(path.relative_to(ROOT))
        for folder in ("service", "workers", "models")
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(keyspace.__file__) and KEY.search(path.read_text())
    ]
    assert spelling == []

"""The reference of the catalog names each key, and its example and its defaults are true."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import EXTRAS, Catalog, Defaults, Limits, ModelSpec
from models.catalog.families import FAMILIES, STABLE_DIFFUSION
from models.catalog.vision import VISION

TEXT = (Path(__file__).parents[3] / "docs" / "catalog.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return next(part for part in TEXT.split("\n## ") if part.startswith(title))


def rows(title: str) -> dict[str, list[str]]:
    """The cells behind each key of the first table below ``title``."""
    found: dict[str, list[str]] = {}
    for line in section(title).splitlines():
        if line.startswith("| `"):
            first, *others = (cell.strip() for cell in line.strip("| ").split(" | "))
            found |= dict.fromkeys(re.findall(r"`(\w+)`", first), others)
    return found


def names(cls: type) -> set[str]:
    return {field.name for field in fields(cls)}


def test_each_key_is_in_its_table():
    assert set(rows("Top level")) == {"default", "unknown", "aliases", "models", VISION, *EXTRAS}
    assert set(rows("A model")) == names(ModelSpec) - {"name"}
    assert set(rows("`defaults`")) == names(Defaults)
    assert set(rows("`limits`")) == names(Limits)
    assert set(rows("An auxiliary model")) == names(AuxiliaryModel) - {"name", "path", "table"} | {"file", "folder"}


@pytest.mark.parametrize(("title", "cls", "column"), [("`defaults`", Defaults, 0), ("`limits`", Limits, 1)])
def test_the_values_of_keys_that_are_left_out(title: str, cls: type, column: int):
    values = cls()
    for key, cells in rows(title).items():
        shown, value = cells[column].strip("`"), getattr(values, key)
        assert shown == "empty" if value == "" else shown == (f"{value:g}" if isinstance(value, float) else str(value))


def test_the_defaults_of_families():
    for key, cells in rows("`defaults`").items():
        given = {name: facts.defaults[key] for name, facts in FAMILIES.items() if key in facts.defaults}
        if key in ("width", "height"):
            assert given == dict.fromkeys(set(FAMILIES) - {STABLE_DIFFUSION}, 1024)
        else:
            usual = getattr(Defaults(), key)
            shown = cells[1] if len(cells) > 1 else ""
            for name, value in given.items():
                text = f"{value:g}" if isinstance(value, float) else str(value)
                assert (text in shown and name in shown) or value == usual


def test_the_example_is_a_catalog(tmp_path: Path):
    example = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert example is not None
    catalog = Catalog.parse(example[1], tmp_path / "catalog.toml")
    assert catalog.default == "sdxl" and {"sdxl", "mine", "house"} == set(catalog)
    assert catalog.resolve("v1-5-pruned-emaonly.safetensors") is catalog["mine"]
    assert catalog["sdxl"].defaults.width == 1024
    assert catalog.loras["pixel"].path == tmp_path / "downloads/pixel-art-v3.safetensors"

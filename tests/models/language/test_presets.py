"""The table of language models: what every row must hold for the rest to work."""

from __future__ import annotations

import json

import pytest

from models.language.presets import GENERIC, PRESETS, RWKV, SMOLLM2, VLLM, Preset, template_path


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_row_says_all_that_serving_and_choosing_need(preset: Preset) -> None:
    assert PRESETS[preset.name] is preset
    assert preset.licence and preset.limits and preset.engine in (VLLM, RWKV)
    assert (preset.repository is None) == (preset is GENERIC)
    assert preset is GENERIC or preset.repository.count("/") == 1
    assert preset is GENERIC or preset.memory_gib > 1
    path = template_path(preset)
    assert path is None or path.is_file()
    json.dumps(dict(preset.sampling))


def test_only_what_vllm_serves_can_be_held_to_a_grammar() -> None:
    grammars = [preset for preset in PRESETS.values() if preset.is_small or preset.tool_dialect == "constrained"]
    assert {preset.engine for preset in grammars} == {VLLM}
    assert SMOLLM2 in grammars


def test_foreign_code_runs_only_where_its_row_says_so() -> None:
    trusting = {preset.name for preset in PRESETS.values() if "--trust-remote-code" in preset.flags}
    assert trusting == {name for name, preset in PRESETS.items() if "Python code" in preset.limits} == {"chatglm3-6b"}

"""Calls of modules as plain data, and back."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import pytest
import torch

from models.deploy.forms import NoForm, bind, flatten, rebuild

ONE, TWO, THREE = (torch.full((2,), float(number)) for number in (1, 2, 3))


def forward(sample: Any, timestep: Any, states: Any = None, *, extra: Any = None, **others: Any) -> None:
    """What is bound."""


def test_arguments_have_the_names_of_their_parameters() -> None:
    assert bind(forward, (1, 2), {"extra": 3, "far": 4}) == {"sample": 1, "timestep": 2, "extra": 3, "far": 4}
    assert bind(forward, (1,), {"timestep": 2, "states": None, "far": None}) == {"sample": 1, "timestep": 2}


def test_unnamed_arguments_have_no_form() -> None:
    def takes_any(*tensors: Any) -> None:
        """See above."""

    with pytest.raises(NoForm, match=r"unnamed arguments as \*tensors"):
        bind(takes_any, (ONE,), {})


def test_nested_tensors_get_names_and_come_back() -> None:
    given = {"sample": ONE, "added": {"ids": TWO, "none": None}, "down": (THREE, [ONE]), "flag": True, "mode": "a"}
    tensors, form = flatten(given)
    assert list(tensors) == ["sample", "added.ids", "down.0", "down.1.0"]
    assert json.loads(json.dumps(form)) == form, "a package keeps it as JSON"
    back = rebuild(form, tensors)
    assert back["sample"] is ONE and back["added"]["ids"] is TWO and "none" not in back["added"]
    assert back["down"][0] is THREE and back["down"][1] == (ONE,) and back["flag"] is True and back["mode"] == "a"


def test_results_are_read_by_name_attribute_and_number() -> None:
    tensors, form = flatten(OrderedDict(last_hidden_state=ONE, hidden_states=(TWO, THREE)))
    back = rebuild(form, tensors)
    assert back[0] is back.last_hidden_state is back["last_hidden_state"] is ONE
    assert back.hidden_states[-1] is THREE and back[1:] == ((TWO, THREE),)
    with pytest.raises(AttributeError, match="pooler_output"):
        back.pooler_output  # noqa: B018


def test_a_single_tensor_and_tuples_have_forms_too() -> None:
    for value in (ONE, (ONE,), [ONE, (TWO, None)]):
        tensors, form = flatten(value)
        assert flatten(rebuild(form, tensors))[1] == form


def test_what_is_neither_tensor_nor_plain_data_has_no_form() -> None:
    with pytest.raises(NoForm, match=r"added\.cache of the type object"):
        flatten({"added": {"cache": object()}})


def test_the_same_values_in_another_form_are_another_form() -> None:
    assert flatten({"sample": ONE, "flag": True})[1] != flatten({"sample": ONE, "flag": False})[1]
    assert flatten({"sample": ONE})[1] == flatten({"sample": TWO.reshape(1, 2)})[1]

"""The SDK's parameters and the server's: the same names and types, for every kind of job and every nested object."""

import dataclasses
import types
import typing
from collections.abc import Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

import photogram
import pytest
from photogram import _params as sdk

from models.jobs import params as server
from models.jobs.options import JobOptions

POSITIONAL = {"DrawRequest": {"prompt"}, "UpscaleRequest": {"image"}, "FaceRestoreRequest": {"image"}}
"""The fields that are arguments of the SDK's methods and not keys of its parameters."""
PAIRS = {
    sdk.Params: server.DrawRequest,
    sdk.UpscaleParams: server.UpscaleRequest,
    sdk.FaceRestoreParams: server.FaceRestoreRequest,
    sdk.LoraParams: server.LoraUse,
    sdk.MaskParams: server.Mask,
    sdk.ControlParams: server.Control,
    sdk.SecondPassParams: server.SecondPass,
    sdk.RefinerParams: server.Refiner,
    sdk.VariationParams: server.Variation,
    sdk.JobOptions: JobOptions,
}
NOT_IN_THE_SDK = {"FaceSwapRequest", "JobRequest"}
"""No server performs a face swap, and the base has no parameters."""
MASK = frozenset({str, sdk.MaskParams})
"""The SDK also takes a mask's image in place of its fields."""


def alternatives(hint: Any) -> frozenset[Any]:
    """The types in a union, without None; sequences and the SDK's image sources in one notation."""
    if hint == photogram.ImageSource:
        return frozenset({str})
    if get_origin(hint) in (Union, types.UnionType):
        left = set(get_args(hint)) - {types.NoneType}
        if set(get_args(photogram.ImageSource)) <= left:
            left = left - set(get_args(photogram.ImageSource)) | {str}
        return frozenset().union(*map(alternatives, left))
    if get_origin(hint) in (tuple, Sequence):
        return frozenset({("sequence of", *alternatives(get_args(hint)[0]))})
    if get_origin(hint) in (typing.Required, typing.NotRequired):
        return alternatives(get_args(hint)[0])
    return frozenset({PAIRS.get(hint, hint)})


def server_fields(request: type) -> dict[str, frozenset[Any]]:
    hints = get_type_hints(request)
    names = {field.name for field in dataclasses.fields(request)} - {"kind"} - POSITIONAL.get(request.__name__, set())
    return {name: alternatives(hints[name]) for name in names}


def sdk_fields(params: type) -> dict[str, frozenset[Any]]:
    found = {name: alternatives(hint) for name, hint in get_type_hints(params).items()}
    if "mask" in found:
        assert found["mask"] == alternatives(sdk.ImageSource | sdk.MaskParams)
        found["mask"] -= {str}
    return found


@pytest.mark.parametrize("params", PAIRS, ids=lambda each: each.__name__)
def test_the_sdk_has_the_parameters_of_the_server(params: type):
    assert sdk_fields(params) == server_fields(PAIRS[params])


def test_every_request_of_the_server_has_its_parameters_in_the_sdk():
    requests = {
        each for name, each in vars(server).items() if name.endswith("Request") and dataclasses.is_dataclass(each)
    }
    assert requests - set(PAIRS.values()) <= {getattr(server, name, None) for name in NOT_IN_THE_SDK}

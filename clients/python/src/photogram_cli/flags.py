"""The flags of the parameters and options of jobs, and the values that were given by them."""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .declarations import Kind, Parameter
from .files import STANDARD, image_of, is_source
from .near_misses import near_miss
from .parameters import KINDS, OPTIONS
from .texts import FileName, is_text

_NAMES = {
    "num_inference_steps": ("--steps", "--num-inference-steps"),
    "guidance_scale": ("--guidance", "--guidance-scale"),
    "enhance_prompt": ("--enhance", "--enhance-prompt"),
    "metadata": ("--file-metadata",),
}
"""The flags of parameters that are not called after their names; `--metadata` is the option of the job."""
_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")
MASK = "mask"
"""The object that may be given by its image alone."""
PARAM, OPTION = "params.", "options."
"""What the destinations of flags begin with, and the fields of problems too."""


def kind_named(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


def add_parameters(
    parser: argparse.ArgumentParser,
    kind: Kind,
    *,
    positional: Iterable[str] = (),
    optional: Mapping[str, str] = MappingProxyType({}),
    is_any_drawing: bool = False,
) -> None:
    """Add a flag for each parameter of `kind` that has an effect.

    Those in `positional` are arguments of the command already; those in `optional` may be given at their place, which
    has that name in the help. `is_any_drawing` adds those without effect too, because the kind follows from them.
    """
    group = parser.add_argument_group("parameters of the job")
    for parameter in kind.parameters:
        has_effect = is_any_drawing or parameter.name not in kind.ignored
        if has_effect and parameter.name not in positional:
            names = _NAMES.get(parameter.name, (_flag_of(parameter),))
            place = group
            if parameter.name in optional:
                place = group.add_mutually_exclusive_group()
                form: dict[str, Any] = {"nargs": "?", "default": argparse.SUPPRESS, "help": f"as {names[0]}"}
                place.add_argument(PARAM + parameter.name, metavar=optional[parameter.name], **form)
            _add(place, parameter, names, PARAM + parameter.name)
    group.add_argument(
        "-p", "--param", dest="more", metavar="KEY=VALUE", action="append", default=[], type=_entry,
        help="any parameter by its name in the API, as in mask.blur_px=8; VALUE is JSON or text",
    )  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each option that a job of any kind has."""
    group = parser.add_argument_group("options of the job")
    for option in OPTIONS:
        _add(group, option, (_flag_of(option),), OPTION + option.name)


def params_of(options: argparse.Namespace) -> dict[str, Any]:
    """The parameters that were given."""
    params = _given(options, PARAM)
    for key, value in options.more:
        *path, name = key.split(".")
        place = params
        for each in path:
            place = _inner(place, each)
        place[name] = value
    return params


def _inner(place: dict[str, Any], name: str) -> dict[str, Any]:
    """The object `name` in `place`, which the file of a mask becomes when it gets further fields."""
    found = place.setdefault(name, {})
    if name == MASK and not isinstance(found, dict):
        found = place[name] = {"image": found}
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no object")
    return found


def options_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options of the job that were given."""
    found = _given(options, OPTION)
    return found | {"metadata": dict(found["metadata"])} if "metadata" in found else found


def filters_of(options: argparse.Namespace) -> dict[str, Any]:
    """The filters of a list that were given."""
    filters = {name: getattr(options, name) for name in ("kind", "model", "tag", "search")}
    return filters | {"metadata": dict(options.metadata)} if options.metadata else filters


def images_given(options: argparse.Namespace) -> list[str]:
    """The arguments that name images, to see which of them read standard input."""
    given = [value for name, value in vars(options).items() if name.startswith(PARAM)]
    values = [each for value in given for each in (value if isinstance(value, list) else [value])]
    values += [inner for value in values if isinstance(value, _Object) for inner in value.values.values()]
    return [value for value in values if isinstance(value, ImageArgument)]


def _given(options: argparse.Namespace, prefix: str) -> dict[str, Any]:
    found = {name.removeprefix(prefix): value for name, value in vars(options).items() if name.startswith(prefix)}
    return {name: _read(value) for name, value in found.items() if value is not None}


def _read(value: Any) -> Any:  # noqa: ANN401
    """The value of an argument; files are read only now, when all arguments are known to be right."""
    if isinstance(value, list):
        return [_read(each) for each in value]
    if isinstance(value, _Object):
        return {name: _read(each) for name, each in value.values.items()}
    return image_of(value) if isinstance(value, ImageArgument) else value


def _flag_of(parameter: Parameter) -> str:
    name = parameter.name.removesuffix("s") if parameter.is_list else parameter.name
    return "--" + name.replace("_", "-")


def _add(group: Any, parameter: Parameter, names: tuple[str, ...], dest: str) -> None:  # noqa: ANN401
    text = parameter.text.replace("%", "%%").replace("`", "")
    if parameter.form == "bool":
        group.add_argument(*names, dest=dest, action=argparse.BooleanOptionalAction, help=text)
        return
    form: dict[str, Any] = {"dest": dest, "help": text, "metavar": _metavar(parameter), "type": _reader(parameter)}
    if parameter.choices and not parameter.is_list:
        form |= {"choices": parameter.choices, "metavar": None}
    if parameter.is_list or parameter.form == "dict":
        form |= {"action": "append"}
    group.add_argument(*names, **form)


def _metavar(parameter: Parameter) -> str:
    if parameter.form == "object":
        first, *_ = parameter.fields
        return f"{'FILE' if first.form == 'image' else first.name.upper()}[,KEY=VALUE...]"
    return {"int": "N", "float": "X", "image": "FILE", "dict": "KEY=VALUE"}.get(parameter.form, "TEXT")


def _reader(parameter: Parameter) -> Callable[[str], Any]:
    if parameter.form == "object":
        return lambda text: _object(parameter, text)
    readers: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "image": ImageArgument, "dict": key_value}
    return readers.get(parameter.form, str)


class ImageArgument(FileName):
    """The argument of an image: a file, `-` for standard input, or a source that the server resolves."""

    def __new__(cls, text: str) -> "ImageArgument":
        if is_source(text) and not is_text(text):
            raise argparse.ArgumentTypeError(f"must be text in UTF-8, and is {text!r}")
        return super().__new__(cls, text)


class _Object:
    """The argument of an object."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values


def _object(parameter: Parameter, text: str) -> _Object:
    """`film,weight=0.5` is the first field, and others by their names; a file or a URL is the first field alone."""
    first = parameter.fields[0]
    if text == STANDARD or is_source(text) or (first.form == "image" and Path(text).is_file()):
        return _Object({first.name: _value(first, text)})
    values = {}
    for index, part in enumerate(text.split(",")):
        name, equals, value = part.partition("=")
        if not equals and index == 0:
            name, value = first.name, part
        values[name] = _value(_field(parameter, name), value)
    return _Object(values)


def _field(parameter: Parameter, name: str) -> Parameter:
    for field in parameter.fields:
        if field.name == name:
            return field
    names = [field.name for field in parameter.fields]
    raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(names)}{near_miss(name, names)}")


def _value(field: Parameter, text: str) -> Any:  # noqa: ANN401
    try:
        if field.form == "bool":
            return _boolean(text)
        value = _reader(field)(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{field.name}: invalid {field.form} value: {text!r}") from None
    if not is_text(value):
        raise argparse.ArgumentTypeError(f"{field.name}: must be text in UTF-8, and is {text!r}")
    return value


def _boolean(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError(text)
    return text.lower() in _TRUE


def count(text: str) -> int:
    """An argument that is a whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be 1 or more")
    return number


def key_value(text: str) -> tuple[str, str]:
    """An argument `KEY=VALUE`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} must be KEY=VALUE")
    return key, value


def _entry(text: str) -> tuple[str, Any]:
    """An argument `KEY=VALUE` whose value is JSON, or else text."""
    key, value = key_value(text)
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value

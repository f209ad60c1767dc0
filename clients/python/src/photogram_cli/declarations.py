"""How `parameters.py` declares the kinds of job and their parameters."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: `form` is `str`, `int`, `float`, `bool`, `dict`, `image` or `object`."""

    name: str
    form: str
    text: str
    choices: tuple[str | int, ...] = ()
    is_list: bool = False
    fields: "tuple[Parameter, ...]" = ()
    """The parameters of an object."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of job; `result` is `images`, `document` or `files`."""

    name: str
    summary: str
    result: str
    parameters: tuple[Parameter, ...]
    required: tuple[str, ...]
    ignored: tuple[str, ...]
    """Parameters without effect on this kind."""

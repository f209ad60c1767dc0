"""The images that came along with a job: in any order, under any names, with any label, some of them twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from models.errors import FieldProblem, InvalidTicket
from models.jobs.sources import IMAGE, INPUT, is_url

Keep = Callable[[bytes], str]
"""Checks and stores an image; gives its source. Raises :class:`InvalidTicket` if it is none."""


@dataclass(frozen=True)
class Input:
    """One part of the form that holds an image."""

    filename: str
    data: bytes


class Inputs:
    """The images of one job, handed out by name or in their order."""

    def __init__(self, sent: Sequence[Input], keep: Keep) -> None:
        self._sent = list(sent)
        self._keep = keep
        self._used: set[bytes] = set()

    def named(self, field: str, name: str) -> str:
        """The source that ``name`` in the config's ``field`` means: an image of the form, or one to be had elsewhere.

        Raises:
            InvalidTicket: there is no image of that name, or there are several, or it is none.
        """
        found = {each.data for each in self._sent if each.filename == name}
        if len(found) > 1:
            raise _problem(field, f"there are {len(found)} inputs named {name!r}; give them different filenames")
        if found:
            return self._store(found.pop())
        if self._sent and not is_url(name) and not name.startswith(("data:", INPUT, IMAGE)):
            names = ", ".join(repr(each.filename) for each in self._sent)
            raise _problem(field, f"there is no input named {name[:100]!r}; there are: {names[:500]}")
        return name

    def rest(self, count: int) -> list[str]:
        """The sources of ``count`` images that no name was used for, in their order; fewer if there are fewer.

        Equal images count once, for Prodia's own client sends a file twice; unless there are too few otherwise.

        Raises:
            InvalidTicket: there are more, or one is no image.
        """
        unused = [each.data for each in self._sent if each.data not in self._used]
        distinct = list(dict.fromkeys(unused))
        if len(distinct) > count:
            raise _problem("input", f"{len(distinct)} came where the job takes {count}, those named in config apart")
        return [self._store(data) for data in (distinct if len(distinct) == count else unused[:count])]

    def _store(self, data: bytes) -> str:
        self._used.add(data)
        return self._keep(data)


def assign(
    roles: Sequence[str], named: Mapping[str, str | None], images: Sequence[str], inputs: Inputs
) -> dict[str, str]:
    """The source of each role, as far as there is one: by its own name, by the next of ``images``, or by its place.

    Raises:
        InvalidTicket: a name means nothing, or there are more images than roles.
    """
    found = {role: inputs.named(role, name) for role, name in named.items() if name is not None}
    open_roles = [role for role in roles if role not in found]
    if len(images) > len(open_roles):
        raise _problem("images", f"names {len(images)} images, and the job takes {len(open_roles)}")
    for role, name in zip(open_roles, images, strict=False):
        found[role] = inputs.named("images", name)
    missing = open_roles[len(images) :]
    return found | dict(zip(missing, inputs.rest(len(missing)), strict=False))


def _problem(field: str, message: str) -> InvalidTicket:
    return InvalidTicket([FieldProblem(field, message)])

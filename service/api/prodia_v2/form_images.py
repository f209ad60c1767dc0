"""The images of a form, and which of them the job uses for what: by filename, or by their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from models.errors import FieldProblem, InvalidTicket, ProblemCode, quoted
from models.jobs.sources import IMAGE, INPUT, is_url
from service.api.errors import invalid_field

Store = Callable[[bytes], str]
"""Checks and stores an image, and returns its source. Raises :class:`InvalidTicket` if it is not an image."""


@dataclass(frozen=True)
class FormImage:
    """An ``input`` part of the form."""

    filename: str
    data: bytes


class FormImages:
    """The images of one form; each is stored once the job uses it."""

    def __init__(self, images: Sequence[FormImage], store: Store) -> None:
        self._images = list(images)
        self._store_image = store
        self._used: set[bytes] = set()

    def by_name(self, field: str, name: str) -> str:
        """The source that ``name``, the value of the config's ``field``, stands for.

        That is the image of the form with this filename, else ``name`` itself: a URL, Base64, or the name of a stored
        image.

        Raises:
            InvalidTicket: several images of the form have this filename, or it is neither a filename nor a source, or
                the image cannot be read.
        """
        found = {each.data for each in self._images if each.filename == name}
        if len(found) > 1:
            message = f"there are {len(found)} inputs named {quoted(name)}; give them different filenames"
            raise invalid_field(field, message, ProblemCode.CONFLICT)
        if found:
            return self._store(found.pop())
        if self._images and not is_url(name) and not name.startswith(("data:", INPUT, IMAGE)):
            filenames = tuple(each.filename for each in self._images)
            message = f"there is no input named {quoted(name)}; there are: {', '.join(map(repr, filenames))[:500]}"
            raise InvalidTicket([FieldProblem(field, message, ProblemCode.UNKNOWN_NAME, allowed=filenames)])
        return name

    def remaining(self, count: int) -> list[str]:
        """The sources of the first ``count`` images that no name was used for; fewer if there are fewer.

        Equal images count once, because Prodia's own client sends each file twice; but if fewer than ``count``
        different images remain, equal ones are used.

        Raises:
            InvalidTicket: more images remain, or one cannot be read.
        """
        unused = [each.data for each in self._images if each.data not in self._used]
        distinct = list(dict.fromkeys(unused))
        if len(distinct) > count:
            message = f"the job takes {count} that config does not name, and the form has {len(distinct)}"
            raise InvalidTicket([FieldProblem("input", message, ProblemCode.TOO_LONG, high=count)])
        return [self._store(data) for data in (distinct if len(distinct) == count else unused[:count])]

    def _store(self, data: bytes) -> str:
        self._used.add(data)
        return self._store_image(data)


def assign(
    roles: Sequence[str], named: Mapping[str, str | None], names: Sequence[str], images: FormImages
) -> dict[str, str]:
    """The source of each role that has an image.

    A role takes the image of its own field, else the next one of ``names``, else the next remaining image of the form.

    Args:
        roles: ``image``, ``mask`` ...
        named: the value of each role's own field in the config.
        names: the config's ``images``.

    Raises:
        InvalidTicket: a name is unknown, or there are more images than roles.
    """
    found = {role: images.by_name(role, name) for role, name in named.items() if name is not None}
    open_roles = [role for role in roles if role not in found]
    if len(names) > len(open_roles):
        message = f"names {len(names)} images, and the job takes {len(open_roles)}"
        raise InvalidTicket([FieldProblem("images", message, ProblemCode.TOO_LONG, high=len(open_roles))])
    for role, name in zip(open_roles, names, strict=False):
        found[role] = images.by_name("images", name)
    missing = open_roles[len(names) :]
    return found | dict(zip(missing, images.remaining(len(missing)), strict=False))

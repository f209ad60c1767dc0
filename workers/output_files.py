"""The files that a job gives back, checked before they are stored."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from models.errors import InternalFailure
from models.jobs.results import FileOutput

NAME_MAX_CHARS = 255
MEDIA_TYPE_MAX_CHARS = 255
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}( *;[ -~]*)?")
"""RFC 9110, 8.3.1; of the parameters only the characters are checked."""


def checked_files(files: Sequence[FileOutput]) -> list[FileOutput]:
    """``files`` with names that are reduced to their last part, as in ``b.txt`` of ``a/b.txt``.

    Raises:
        InternalFailure: a name, a media type or the data of a file is not allowed.
    """
    return [_checked(file) for file in files]


def _checked(file: FileOutput) -> FileOutput:
    if not isinstance(file.data, bytes):
        raise InternalFailure(f"a file of the job's result has {type(file.data).__name__} as its data, not bytes")
    if not _is_media_type(file.media_type):
        raise InternalFailure(
            f"a file of the job's result has the media type {_shown(file.media_type)}, which is not a type and subtype"
            " as in text/plain, with optional parameters in printable ASCII"
        )
    return replace(file, name=_base_name(file.name))


def _is_media_type(text: object) -> bool:
    return isinstance(text, str) and len(text) <= MEDIA_TYPE_MAX_CHARS and _MEDIA_TYPE.fullmatch(text) is not None


def _base_name(name: object) -> str:
    base = re.split(r"[/\\]", name)[-1] if isinstance(name, str) else ""
    is_allowed = 1 <= len(base) <= NAME_MAX_CHARS and base not in (".", "..")
    if not is_allowed or any(unicodedata.category(character) in ("Cc", "Cs") for character in base):
        raise InternalFailure(
            f"a file of the job's result has the name {_shown(name)}; a name has 1 to {NAME_MAX_CHARS} characters and"
            " no control characters or surrogates"
        )
    return base


def _shown(value: object) -> str:
    return ascii(value)[:100]

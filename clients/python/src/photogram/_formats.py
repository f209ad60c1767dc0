"""The formats of image files."""

from pathlib import PurePath

FORMATS = {".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".jpe": "jpg", ".webp": "webp", "": "png"}
"""The format by the extension of the file, in lower case; a name without extension means PNG."""


def check_format(name: str) -> None:
    """Raises ValueError if the server makes no files of the format `name`."""
    if name not in FORMATS.values():
        raise ValueError(f"file_format must be one of {', '.join(dict.fromkeys(FORMATS.values()))}, got {name!r}")


def format_of(path: PurePath) -> str:
    """The format that the suffix of `path` names; raises ValueError if there is none."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(each for each in FORMATS if each)
        raise ValueError(f"{path}: the format {path.suffix!r} is not known; the extensions are {known}") from None

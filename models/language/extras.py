"""Optional packages: the error that a feature raises where the extra that installs its package is missing.

PhotogramError
└── ExtraMissing
"""

from __future__ import annotations

import importlib.util

from models.errors import PhotogramError


class ExtraMissing(PhotogramError):
    """A feature needs a package that is not installed; the message names the extra that installs it."""


def require_extra(extra: str, feature: str) -> None:
    """Raise :class:`ExtraMissing` unless the package of the same name as ``extra`` can be imported."""
    if importlib.util.find_spec(extra) is None:
        raise ExtraMissing(f"{feature} needs the package {extra}: pip install 'photogram-server[{extra}]'")

"""Texts of the command line, which must be UTF-8, and names of files, whose bytes may be others."""

import re
from collections.abc import Mapping

_SURROGATE = re.compile("[\ud800-\udfff]")
"""What Python makes of bytes that are no UTF-8, and of a half of a pair of JSON escapes; neither can be sent."""


class FileName(str):
    """The argument of a file or a folder."""


def is_text(value: object) -> bool:
    """Whether all texts in `value`, which may be JSON, can be sent; names of files need not be text."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, Mapping):
            left += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple):
            left += each
        elif isinstance(each, str) and not isinstance(each, FileName) and _SURROGATE.search(each):
            return False
    return True

"""Entity tags of files that never change (RFC 9110, section 13.1.2)."""

from __future__ import annotations


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether a client that sends the header ``If-None-Match`` has the file of ``etag`` already."""
    return if_none_match is not None and (etag in if_none_match or if_none_match.strip() == "*")

"""Names of models as clients and proxies of OpenAI's API write them."""

from __future__ import annotations


def without_provider(name: str) -> str:
    """``name`` without the provider before its last slash, as in ``openai/dall-e-3``, and without spaces around it."""
    return name.rpartition("/")[2].strip()

"""Signatures of webhooks, as Standard Webhooks defines them (https://www.standardwebhooks.com, version 1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

_PREFIX = "whsec_"
_SECRET_BYTES = 32
"""The specification allows 24 to 64."""


def make_secret() -> str:
    """A new signing secret: ``whsec_`` and 256 random bits in Base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(message_id: str, sent_at: int, body: bytes, signing_secrets: Sequence[str]) -> dict[str, str]:
    """The three headers that a receiver verifies ``body`` with; one signature for each secret.

    Args:
        message_id: the same for every attempt at one delivery; without a dot.
        sent_at: seconds since the epoch.
    """
    signed = f"{message_id}.{sent_at}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": " ".join(f"v1,{_signature(signed, secret)}" for secret in signing_secrets),
    }


def _signature(signed: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()

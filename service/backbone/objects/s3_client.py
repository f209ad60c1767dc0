"""The connection to one bucket of an S3 service, and what its errors mean."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from models.errors import StorageUnavailable
from service.backbone.settings import Settings

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
RETRIES = 2
"""How often a request is sent again within the time limit of one request, before the operation fails."""
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=0.1), timedelta(seconds=1)
_CODE = re.compile(r"<Code>(\w{1,100})</Code>")
_REASONS = {
    "NoSuchBucket": "there is no such bucket",
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "AccessDenied": "the keys may not do this",
}
_SIGNS = {
    "169.254.169.254": "no keys are set: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "403 Forbidden": "the keys are wrong, or may not do this",
    "operation timed out": "it did not answer in time",
    "TimedOut": "it did not answer in time",
    "error sending request": "it cannot be reached",
}
"""What the text of an error without a code says, and what that means."""
_UNKNOWN = "it answered what was not expected; the log has its words"


class _Failures:
    """When an operation last failed in this process, whose storage is one bucket."""

    last_at = float("-inf")


def failed_since(moment: float) -> bool:
    """Whether an operation of this process has failed after ``moment`` (monotonic), so that the store may be down."""
    return _Failures.last_at > moment


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """The parts of ``s3://bucket/prefix``; the prefix may be empty."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, prefix.strip("/")


def open_bucket(url: str, settings: Settings, *, timeout_s: float | None = None, retries: int = RETRIES) -> S3Store:
    """The place that ``url`` names; nothing is sent yet.

    Keys that the settings do not have are looked for where programs of AWS look: in further variables, then in the
    roles of the machine.

    Args:
        timeout_s: the limit of one request, which has at most :data:`~.s3.PART_BYTES`; ``None`` is as set.
    """
    bucket, prefix = bucket_and_prefix(url)
    limit = timedelta(seconds=timeout_s or settings.s3_timeout_s)
    options: dict[str, Any] = {
        "region": settings.s3_region,
        "endpoint": _endpoint(bucket, settings),
        "virtual_hosted_style_request": not settings.s3_path_style,
        "access_key_id": settings.s3_access_key_id,
        "secret_access_key": settings.s3_secret_access_key,
        "session_token": settings.s3_session_token,
        "server_side_encryption": settings.s3_encryption,
        "sse_kms_key_id": settings.s3_kms_key,
    }
    return S3Store(
        bucket,
        prefix=prefix or None,
        config={name: value for name, value in options.items() if value is not None},  # type: ignore[arg-type]
        client_options={
            "allow_http": (settings.s3_endpoint or "").startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
            "timeout": limit,
        },
        retry_config={
            "max_retries": retries,
            "retry_timeout": limit,
            "backoff": {"init_backoff": _FIRST_PAUSE, "max_backoff": _LONGEST_PAUSE, "base": 2},
        },
    )


def _endpoint(bucket: str, settings: Settings) -> str | None:
    """The address of the service; obstore expects the bucket in it unless it is part of the path."""
    if settings.s3_endpoint is None or settings.s3_path_style:
        return settings.s3_endpoint
    scheme, _, host = settings.s3_endpoint.partition("://")
    return f"{scheme}://{bucket}.{host}"


@contextmanager
def using_s3() -> Iterator[None]:
    """Raise the block's errors of S3 as :class:`StorageUnavailable`, except that an object is there, or is not.

    Such a failure makes the next check of the store due (:func:`failed_since`).
    """
    try:
        yield
    except (FileExistsError, AlreadyExistsError) as error:
        raise FileExistsError from error
    except (BaseError, OSError) as error:
        if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
            raise
        _Failures.last_at = time.monotonic()
        reason = reason_of(error)
        log.log(logging.DEBUG if reason else logging.WARNING, "S3: %s", error)
        raise StorageUnavailable(f"the S3 storage cannot be used: {reason or _UNKNOWN}") from error


def reason_of(error: Exception) -> str | None:
    """Why S3 refused something, without the addresses and names that the error contains; ``None`` if it is unclear."""
    text = str(error)
    code = _CODE.search(text)
    if code is not None:
        return _REASONS.get(code[1], f"it answered {code[1]}")
    return next((reason for sign, reason in _SIGNS.items() if sign in text), None)

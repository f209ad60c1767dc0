"""The certificate and the key with which this server signs images, and signing that never costs an image.

A pair that the server made for itself is shared through Redis, so that hosts without a common disk sign alike and know
each other's images.

An image that cannot be signed is stored without a manifest: the log says so, and so does ``/readyz``. Files that the
settings name and that cannot sign are an error when a process starts.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from models.errors import StorageUnavailable
from models.jobs.params import C2PA, PROVENANCE
from models.provenance.certificates import Pair, make_pair
from models.provenance.signing import Claim, ManifestSigner, SigningFailed
from service.backbone.files import make_folder, replace_file, storing
from service.backbone.keyspace import SIGNING_PAIR_KEY
from service.backbone.settings import Settings, SettingsError

log = logging.getLogger(__name__)

_CERTIFICATE, _KEY = "certificate.pem", "key.pem"
_PEM_MAX_BYTES = 1 << 18
_UNSIGNED = (SigningFailed, SettingsError, StorageUnavailable, RedisError)
"""What leaves images without a manifest for now."""
_CHECKED_S = 60.0
"""How long an answer of :meth:`Signing.problem` holds, and the pause between two equal lines in the log."""


def is_signed(level: str) -> bool:
    """Whether images that are marked as ``level`` says, one of ``PROVENANCE``, carry a manifest."""
    return PROVENANCE.index(level) >= PROVENANCE.index(C2PA)


class Signing:
    """Signs with the pair of the settings, or with one that the server made for itself; for several threads.

    Args:
        connection: where that pair is shared; ``None`` leaves it in the data folder.
    """

    def __init__(self, settings: Settings, connection: Redis | None = None) -> None:
        self._settings, self._connection, self._lock = settings, connection, threading.Lock()
        self._opened: tuple[Pair, ManifestSigner] | None = None
        self._checked_at = self._told_at = float("-inf")
        self._problem: str | None = None

    def open_at_start(self) -> None:
        """Make the pair if there is none, and check that it signs, unless no images are signed by default.

        A folder or a Redis that cannot be written is no error: the pair is made when it is needed.

        Raises:
            SettingsError: the files that the settings name cannot sign.
        """
        if not is_signed(self._settings.provenance):
            return
        try:
            problem = self._signer().problem()
        except (StorageUnavailable, RedisError) as error:
            log.error("images are not signed yet: %s", error)
            return
        except SigningFailed as error:
            problem = str(error)
        if problem is not None:
            raise SettingsError(f"images cannot be signed with {self._place()}: {problem}")

    def sign(self, data: bytes, media_type: str, claim: Claim) -> bytes:
        """The file with a manifest, or as it is if it cannot be signed now."""
        try:
            return self._signer().sign(data, media_type, claim)
        except _UNSIGNED as error:
            self._tell(error)
            return data

    def problem(self) -> str | None:
        """Why images are not signed now although they should be, or ``None``. Blocking."""
        if not is_signed(self._settings.provenance):
            return None
        if time.monotonic() - self._checked_at > _CHECKED_S:
            try:
                self._problem = self._signer().problem()
            except _UNSIGNED as error:
                self._problem = str(error)
            self._checked_at = time.monotonic()
        return self._problem

    def certificate(self) -> bytes:
        """The chain as PEM text; empty if there is none. Blocking."""
        try:
            return self._open()[0].certificate
        except _UNSIGNED:
            return b""

    def _signer(self) -> ManifestSigner:
        return self._open()[1]

    def _open(self) -> tuple[Pair, ManifestSigner]:
        with self._lock:
            if self._opened is None:
                pair = _pair(self._settings, self._connection)
                self._opened = pair, ManifestSigner(pair.certificate, pair.key)
            return self._opened

    def _place(self) -> str:
        settings = self._settings
        if settings.provenance_certificate is None:
            return f"the files in {settings.provenance_folder}, or the pair that Redis has at {SIGNING_PAIR_KEY}"
        return f"{settings.provenance_certificate} and {settings.provenance_key}"

    def _tell(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._told_at > _CHECKED_S:
            self._told_at = now
            log.error("images are stored without a C2PA manifest, because they cannot be signed: %s", error)


def _pair(settings: Settings, connection: Redis | None) -> Pair:
    certificate, key = settings.provenance_certificate, settings.provenance_key
    if certificate is None or key is None:
        folder = settings.provenance_folder
        return _own_pair(folder) if connection is None else _shared_pair(connection, folder)
    return Pair(_read(certificate), _read(key))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_PEM_MAX_BYTES)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def _shared_pair(connection: Redis, folder: Path) -> Pair:
    """The pair in Redis; that of ``folder`` if Redis has none, unless another host is faster."""
    found: Any = connection.hgetall(SIGNING_PAIR_KEY)
    if not found:
        own = _own_pair(folder)
        with connection.pipeline() as transaction:
            transaction.hsetnx(SIGNING_PAIR_KEY, "certificate", own.certificate)
            transaction.hsetnx(SIGNING_PAIR_KEY, "key", own.key)
            transaction.hgetall(SIGNING_PAIR_KEY)
            found = transaction.execute()[-1]
    return Pair(found[b"certificate"], found[b"key"])


def _own_pair(folder: Path) -> Pair:
    """The pair in ``folder``, which is made if it is not there; several processes may do so at once."""
    if not folder.exists():
        _make(folder)
    return Pair(_read(folder / _CERTIFICATE), _read(folder / _KEY))


def _make(folder: Path) -> None:
    """Make ``folder`` with a new pair, in one step."""
    pair = make_pair()
    with storing(folder.parent):
        make_folder(folder.parent)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".provenance-"))
    try:
        replace_file(partial / _CERTIFICATE, pair.certificate)
        replace_file(partial / _KEY, pair.key)
        os.rename(partial, folder)
    except OSError:
        if not folder.exists():
            raise
        return  # another process was faster
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    log.warning(
        "images are signed with a certificate that this server made for itself, in %s; other programs show its signer "
        "as unknown (docs/provenance.md)", folder,
    )  # fmt: skip

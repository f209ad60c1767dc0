"""One S3 server for the tests of the stores, and one store of each sort."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.backbone.objects.folder import FolderObjects
from service.backbone.objects.protocol import ObjectStore
from service.backbone.objects.s3 import S3Objects
from service.backbone.objects.s3_client import open_bucket
from tests.s3 import S3Server, s3_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def s3(server: S3Server) -> Iterator[S3Server]:
    """The server, which works at first and is mended afterwards."""
    yield server
    server.is_broken, server.delay_s = False, 0.0


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each sort."""
    return FolderObjects(tmp_path / "images") if request.param == "folder" else bucket_objects(request)


@pytest.fixture
def s3_objects(request: pytest.FixtureRequest) -> S3Objects:
    """An empty store in the bucket."""
    return bucket_objects(request)


def bucket_objects(request: pytest.FixtureRequest) -> S3Objects:
    settings = request.getfixturevalue("s3").settings()
    return S3Objects(open_bucket(settings.storage, settings), f"t-{uuid.uuid4()}", settings.storage)

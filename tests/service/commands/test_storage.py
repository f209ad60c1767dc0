"""``photogram storage``: the check of a place, and a migration that is verified and goes on where it stopped."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.backbone.objects.opening import open_stores
from service.backbone.settings import Settings
from service.commands import storage
from tests.s3 import BUCKET, S3Server, s3_server

LARGE = os.urandom(9 << 20)
CONTENTS = [*(b"%d" % number for number in range(30)), LARGE, b""]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def s3(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    yield server
    server.is_broken = False


@pytest.fixture
def target(tmp_path: Path) -> str:
    return f"s3://{BUCKET}/{tmp_path.name}"


def filled(data: Path) -> dict[str, bytes]:
    """Fill a data folder; gives all objects by their stores and names."""
    stores, names = open_stores(Settings(data=data)), {}
    for content in CONTENTS:
        names |= {("images", stores.images.add(content)): content, ("files", stores.files.add(content)): content}
        names["inputs", stores.inputs.add(content)] = content
    (data / "images" / "00").mkdir(exist_ok=True)
    (data / "images" / "00" / "half.partial").write_bytes(b"half")
    return names


def found_in(settings: Settings, names: dict) -> dict:
    stores = open_stores(settings)
    return {(kind, name): getattr(stores, kind).find(name).read() for kind, name in names}


def test_everything_is_copied_to_s3_and_back(
    s3: S3Server, tmp_path: Path, target: str, capsys: pytest.CaptureFixture
) -> None:
    data, back = tmp_path / "data", tmp_path / "back"
    names = filled(data)
    assert storage.main(["migrate", "--from", str(data), "--to", target]) == 0
    assert f"{len(names)} objects copied, 0 were there already; all of them were read back" in capsys.readouterr().out
    assert found_in(s3.settings(storage=target), names) == names
    assert storage.main(["migrate", "--from", target, "--to", str(back)]) == 0
    assert found_in(Settings(data=back), names) == names
    assert [path for path in back.rglob("*") if path.is_file() and path.stat().st_mode & 0o077] == []
    assert storage.main(["migrate", "--from", target, "--to", str(back)]) == 0
    assert f"0 objects copied, {len(names)} were there already" in capsys.readouterr().out


def break_when_some_are_stored(s3: S3Server, prefix: str) -> None:
    """Break the connections as soon as three objects below ``prefix`` are there."""
    while sum(path.is_file() for path in (s3.folder / prefix).rglob("*")) < 3:
        time.sleep(0.005)
    s3.is_broken = True


def test_a_migration_goes_on_where_it_stopped(
    s3: S3Server, tmp_path: Path, target: str, capsys: pytest.CaptureFixture
) -> None:
    names = filled(tmp_path / "data")
    command = ["migrate", "--from", str(tmp_path / "data"), "--to", target]
    threading.Thread(target=break_when_some_are_stored, args=(s3, tmp_path.name), daemon=True).start()
    assert storage.main(command) == 1
    said = capsys.readouterr().err
    assert "the S3 storage cannot be used: it cannot be reached; " in said and "run it again to go on" in said
    s3.is_broken = False
    assert storage.main(command) == 0
    assert " 0 were there already" not in capsys.readouterr().out
    assert found_in(s3.settings(storage=target), names) == names


def test_what_is_different_in_the_target_is_told_and_left_alone(
    s3: S3Server, tmp_path: Path, target: str, capsys: pytest.CaptureFixture
) -> None:
    names = filled(tmp_path / "data")
    kind, image_id = next(iter(names))
    images = open_stores(s3.settings(storage=target)).images
    assert images.write(image_id, b"another")
    assert storage.main(["migrate", "--from", str(tmp_path / "data"), "--to", target]) == 1
    assert f"1 are different in the target, and were left alone:\n  {kind}/{images.name(image_id)}" in (
        capsys.readouterr().out
    )
    assert images.find(image_id).read() == b"another"


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("/no/such/folder", "s3://bucket", "is no data folder"),
        ("s3://bucket/a", "s3://bucket/a", "are the same place"),
        ("s3://bucket/a", "gs://bucket", "must be s3://bucket"),
    ],
)
def test_places_that_cannot_be_meant(source: str, target: str, message: str, capsys: pytest.CaptureFixture) -> None:
    try:
        code = storage.main(["migrate", "--from", source, "--to", target])
    except SystemExit as ended:
        code = ended.code
    assert code in (1, 2) and message in capsys.readouterr().err


def test_the_check_names_what_fails(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    steps = ["write an object", "read it back", "read a part of it", "not replace it", "list it", "remove it"]
    assert storage.main(["check"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"storage: s3://{BUCKET}/photogram at {s3.url}\n") and all(step in said for step in steps)
    assert s3.objects("images") == []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert storage.main(["check"]) == 1
    said = capsys.readouterr().out
    assert "FAILED: the S3 storage cannot be used: the keys are wrong" in said and "wrong\n" not in said
    monkeypatch.delenv("PHOTOGRAM_STORAGE")
    assert storage.main(["--data", str(tmp_path), "check"]) == 0
    assert capsys.readouterr().out.startswith(f"storage: {tmp_path}\n")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

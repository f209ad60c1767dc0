"""The pair of certificate and key: made once, private, shared by settings, and checked at start."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from models.jobs.params import UNMARKED
from models.provenance.certificates import make_pair
from models.provenance.signing import CREATED, Claim
from service.backbone.connections import connect
from service.backbone.keyspace import SIGNING_PAIR_KEY
from service.backbone.provenance import Signing
from service.backbone.settings import Settings, SettingsError
from tests.disks import small_disk
from tests.models.provenance.samples import encoded, photograph

PNG = encoded(photograph(32))
DRAWN = Claim([CREATED], "trainedAlgorithmicMedia")


def given(folder: Path, certificate: bytes, key: bytes) -> Settings:
    folder.mkdir(exist_ok=True)
    (folder / "c.pem").write_bytes(certificate)
    (folder / "k.pem").write_bytes(key)
    return Settings(data=folder / "data", provenance_certificate=folder / "c.pem", provenance_key=folder / "k.pem")


def test_the_first_start_makes_a_pair_that_nobody_else_can_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(data=tmp_path)
    for _ in range(2):
        Signing(settings).open_at_start()
    (line,) = [each.message for each in caplog.records]
    assert str(settings.provenance_folder) in line and "docs/provenance.md" in line
    files = sorted(settings.provenance_folder.iterdir())
    assert [each.name for each in files] == ["certificate.pem", "key.pem"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    assert stat.S_IMODE(settings.provenance_folder.stat().st_mode) == 0o700
    assert [each.name for each in tmp_path.iterdir()] == ["provenance"], "nothing half made is left"


def test_processes_that_start_together_have_one_pair(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from service.backbone.provenance import Signing;"
        "from service.backbone.settings import Settings;"
        "sys.stdout.buffer.write(Signing(Settings(data=Path(sys.argv[1]))).certificate())"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(4)]
    certificates = {process.communicate()[0] for process in started}
    assert len(certificates) == 1 and certificates.pop().startswith(b"-----BEGIN CERTIFICATE")


def test_no_pair_is_made_where_nothing_is_signed(tmp_path: Path) -> None:
    signing = Signing(Settings(data=tmp_path, provenance=UNMARKED))
    signing.open_at_start()
    assert signing.problem() is None and list(tmp_path.iterdir()) == []


def test_hosts_share_a_pair_by_the_settings(tmp_path: Path) -> None:
    pair = make_pair()
    one, other = (Signing(given(tmp_path / name, pair.certificate, pair.key)) for name in ("one", "other"))
    one.open_at_start()
    assert one.certificate() == other.certificate() == pair.certificate
    assert one.sign(PNG, "image/png", DRAWN) != PNG and not (tmp_path / "one" / "data").exists()


def test_hosts_without_a_pair_share_the_first_that_is_made(tmp_path: Path, redis: Redis) -> None:
    one, other = (Signing(Settings(data=tmp_path / name), redis) for name in ("one", "other"))
    one.open_at_start()
    other.open_at_start()
    assert one.certificate() == other.certificate() != b""
    assert not (tmp_path / "other").exists(), "nothing is made where Redis has a pair"
    alone = Signing(Settings(data=tmp_path / "one"))
    redis.flushall()
    Signing(Settings(data=tmp_path / "one"), redis).open_at_start()
    assert redis.hget(SIGNING_PAIR_KEY, "certificate") == alone.certificate(), (
        "an empty Redis gets the pair of a folder"
    )


def test_without_redis_images_are_not_signed_for_now(tmp_path: Path) -> None:
    with connect("redis://127.0.0.1:1", "test") as nobody:
        signing = Signing(Settings(data=tmp_path), nobody)
        signing.open_at_start()
        assert signing.sign(PNG, "image/png", DRAWN) == PNG and signing.problem()


@pytest.mark.parametrize("wrong", ["certificate", "key", "mismatch", "missing"])
def test_files_that_cannot_sign_are_an_error_at_start(tmp_path: Path, wrong: str) -> None:
    pair, other = make_pair(), make_pair()
    certificate = b"nonsense" if wrong == "certificate" else pair.certificate
    key = {"key": b"nonsense", "mismatch": other.key}.get(wrong, pair.key)
    settings = given(tmp_path, certificate, key)
    if wrong == "missing":
        (tmp_path / "k.pem").unlink()
    signing = Signing(settings)
    with pytest.raises(SettingsError):
        signing.open_at_start()
    assert signing.problem()
    if wrong != "mismatch":  # which only reading the signature shows
        assert signing.sign(PNG, "image/png", DRAWN) == PNG, "no image is lost"


def test_a_full_disk_holds_up_no_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data") as disk:
        disk.fill()
        signing = Signing(Settings(data=tmp_path / "data"))
        signing.open_at_start()
        assert signing.sign(PNG, "image/png", DRAWN) == PNG and signing.problem()
        disk.free()
        assert signing.sign(PNG, "image/png", DRAWN) != PNG

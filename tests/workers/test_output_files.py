"""Names and media types of files that jobs give back: which ones are stored, and which ones fail the job."""

from __future__ import annotations

import pytest

from models.errors import JobFailure
from models.jobs.results import FileOutput
from workers.output_files import checked_files


@pytest.mark.parametrize(
    ("name", "stored"),
    [("a.txt", "a.txt"), ("/etc/a b.txt", "a b.txt"), ("..\\é.bin", "é.bin"), ("d/" + "x" * 255, "x" * 255)],
)
def test_a_name_is_reduced_to_its_last_part(name: str, stored: str) -> None:
    (file,) = checked_files([FileOutput(name, "text/plain", b"")])
    assert file.name == stored


@pytest.mark.parametrize("name", ["", "a/", ".", "a/..", "x" * 256, "a\n", "a\x7f", "a\x00", "\ud800", None, 1])
def test_other_names_are_failures(name: str) -> None:
    with pytest.raises(JobFailure, match="has the name"):
        checked_files([FileOutput("a.txt", "text/plain", b""), FileOutput(name, "text/plain", b"")])


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/vnd.a+json", 'text/plain; charset="utf-8"', "a/b;c=d"]
)
def test_media_types_of_rfc_9110_are_kept(media_type: str) -> None:
    (file,) = checked_files([FileOutput("a", media_type, b"")])
    assert file.media_type == media_type


@pytest.mark.parametrize(
    "media_type",
    ["", "text", "text/", "/plain", "text/plain\n", "text/plain;a=\r\nX: y", "a b/c", "é/b", "a/b; c=é", "a/b c", None],
)
def test_other_media_types_are_failures(media_type: str) -> None:
    with pytest.raises(JobFailure, match="media type"):
        checked_files([FileOutput("a", media_type, b"")])


def test_data_that_is_not_bytes_is_a_failure() -> None:
    with pytest.raises(JobFailure, match="str as its data"):
        checked_files([FileOutput("a", "text/plain", "text")])

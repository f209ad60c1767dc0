"""Files that jobs made."""

from __future__ import annotations

from pathlib import Path

from models.jobs.results import StoredFile
from service.backbone.store import FileStore
from tests.service.api.conftest import EXECUTION


def test_files_that_are_not_there(client, stranger, new_job, worker):
    job_id = new_job()
    worker.draw(job_id)
    loose = ["x", "+0", "00", "%200", "0%0a", "0_0", "0.0", "1e0", "%D9%A0", "9" * 5000]
    for index, status in (("0", 404), ("-1", 404), *((each, 422) for each in loose)):
        answer = client.get(f"/v1/jobs/{job_id}/files/{index}")
        assert answer.status_code == status, answer.text
        assert "pattern" not in answer.text
    assert client.get(f"/v1/jobs/{job_id}/files/0").json()["code"] == "file_not_found"
    assert stranger.get(f"/v1/jobs/{job_id}/files/0").json()["code"] == "job_not_found"


def test_a_file_is_read_in_parts_and_not_again(client, new_job, worker, server_data: Path):
    job_id, data = new_job(), bytes(range(100))
    file_id = FileStore(server_data / "files").add(data)
    worker.start(job_id)
    file = StoredFile(file_id, "a.bin", "application/octet-stream", len(data))
    assert worker.ledger.succeed(job_id, EXECUTION, [], {}, files=[file])
    path = f"/v1/jobs/{job_id}/files/0"
    whole, head = client.get(path), client.head(path)
    assert (whole.content, head.content, head.headers["content-length"]) == (data, b"", "100")
    assert whole.headers["etag"] == head.headers["etag"] and "public" not in whole.headers["cache-control"]
    part = client.get(path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, data[10:20], "bytes 10-19/100")
    assert client.get(path, headers={"Range": "bytes=100-"}).status_code == 416
    known = client.get(path, headers={"If-None-Match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")

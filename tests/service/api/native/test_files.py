"""Files that jobs made."""

from __future__ import annotations


def test_files_that_are_not_there(client, stranger, new_job, worker):
    job_id = new_job()
    worker.draw(job_id)
    loose = ["x", "+0", "00", "%200", "0%0a", "0_0", "0.0", "1e0", "%D9%A0", "9" * 5000]
    for index, status in (("0", 404), ("-1", 404), *((each, 422) for each in loose)):
        answer = client.get(f"/v1/jobs/{job_id}/files/{index}")
        assert answer.status_code == status, answer.text
    assert client.get(f"/v1/jobs/{job_id}/files/0").json()["code"] == "file_not_found"
    assert stranger.get(f"/v1/jobs/{job_id}/files/0").json()["code"] == "job_not_found"

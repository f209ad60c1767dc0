"""``GET /v1/capabilities``: the version of the server, and how full its queues are."""

from __future__ import annotations

from importlib.metadata import version


def test_the_version_and_the_queues_are_told(client, new_job, worker):
    _, second = new_job(), new_job()
    worker.ledger.beat("w1")
    told = client.get("/v1/capabilities").json()
    assert told["version"] == version("photogram-server")
    queues = {queue.pop("queue"): queue for queue in told["queues"]}
    assert queues["photogram"] == {"waiting": 2, "running": 0, "workers": 1}
    client.post(f"/v1/jobs/{second}/cancel")
    queues = {queue["queue"]: queue for queue in client.get("/v1/capabilities").json()["queues"]}
    assert queues["photogram"]["waiting"] == 1

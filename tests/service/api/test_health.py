"""Health checks."""

from __future__ import annotations


def test_health(anonymous, worker):
    assert anonymous.get("/healthz").json() == {"status": "ok"}
    unready = anonymous.get("/readyz")
    assert (unready.status_code, unready.json()["code"]) == (503, "no_workers")
    worker.ledger.beat("w1")
    assert anonymous.get("/readyz").json() == {"status": "ready", "workers": 1}
    worker.ledger.sign_off("w1")
    assert anonymous.get("/readyz").status_code == 503

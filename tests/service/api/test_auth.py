"""API keys in the headers of requests."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("path", ["/v1/models", "/v1/samplers", "/v1/jobs/x", "/v1/jobs/x/events"])
def test_reading_needs_a_key(anonymous, path):
    answer = anonymous.get(path)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key", "X-Prodia-Key"])
def test_every_key_header_opens(anonymous, key, header):
    value = f"bearer {key}" if header == "Authorization" else key
    assert anonymous.get("/v1/samplers", headers={header: value}).status_code == 200

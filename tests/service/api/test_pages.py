"""The pages for people: they name no other host, and links from problem details reach their section."""

from __future__ import annotations

import re

import pytest

from service.api.errors import ErrorCode


@pytest.mark.parametrize("path", ["/docs", "/docs/errors"])
def test_a_page_names_no_other_host_and_may_load_nothing_from_one(anonymous, path):
    answer = anonymous.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.search(r"(?:src|href)=\"?(?:https?:)?//", answer.text)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "http" not in policy and "script-src 'self';" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_everything_that_the_page_loads_is_here(anonymous):
    page = anonymous.get("/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(loaded) == 4
    for path in loaded:
        answer = anonymous.get(f"/{path}")
        assert answer.status_code == 200 and len(answer.content) > 100, path
    script = anonymous.get("/docs/assets/docs.js")
    assert script.headers["content-type"].startswith("text/javascript") and "validatorUrl: null" in script.text


@pytest.mark.parametrize("name", ["errors.md", "docs.html", "..%2fapp.py", "README.md", "x"])
def test_other_files_are_not_served(anonymous, name):
    assert anonymous.get(f"/docs/assets/{name}").status_code == 404


def test_problem_types_lead_to_their_section(anonymous):
    page = anonymous.get("/docs/errors").text
    for code in ErrorCode:
        assert f'<h3 id="{code.wire}">' in page
    path, _, section = anonymous.get("/v1/jobs/x").json()["type"].partition("#")
    assert (path, section) == ("/docs/errors", "unauthorized")
    assert "<script" not in page

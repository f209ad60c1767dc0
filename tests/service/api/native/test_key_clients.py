"""Keys as both Python clients and the command line manage them, at a real gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from photogram import AuthenticationError, Conflict, InvalidParams, NotFound, PermissionDenied
from photogram_cli import installed
from photogram_cli.command import main

from service.api.native.key_schemas import KeyBody, KeyView
from tests.clients.conftest import Either

RULES = {
    "name": "Märkte & Söhne, 市場", "scopes": ["submit"], "expires_in_s": 3600, "models": ["house"],
    "kinds": ["txt2img"], "max_priority": 1, "weight": 3, "retention_s": 60, "provenance": "none", "safety": "blur",
    "webhooks": False, "limits": {"max_in_flight": 2, "stored_bytes": 1000}, "enhance_prompt": True,
}  # fmt: skip
SAME = ("models", "kinds", "max_priority", "weight", "retention_s", "provenance", "safety", "webhooks")


@pytest.fixture(params=["sync", "async"])
async def admin(request: pytest.FixtureRequest, server_url: str, key: str) -> AsyncIterator[Either]:
    """A client with a key that may do everything; the only key there is."""
    client = Either(request.param, base_url=server_url, api_key=key)
    yield client
    await client.close()


@pytest.fixture
async def with_key(admin: Either, server_url: str) -> AsyncIterator[Callable[[str], Either]]:
    """Opens a client of the same sort with another key."""
    opened: list[Either] = []

    def open_client(api_key: str) -> Either:
        opened.append(Either(admin.kind, base_url=server_url, api_key=api_key, max_retries=0))
        return opened[-1]

    yield open_client
    for client in opened:
        await client.close()


async def test_a_key_is_made_with_all_rules_changed_and_used(admin: Either, with_key: Callable[[str], Either]):
    made = await admin.keys.create(**RULES)
    assert made.secret and made.secret not in repr(made)
    assert {name: made.rules[name] for name in SAME} == {name: RULES[name] for name in SAME}
    assert made.rules["limits"]["stored_bytes"] == 1000 and made.rules["limits"]["max_queued"] is None
    found = await admin.keys.get(made.id)
    assert (found.name, found.scopes, found.secret) == (RULES["name"], ("submit",), None)
    assert (found.expires_at - found.created_at).total_seconds() == pytest.approx(3600, abs=2)

    changed = await admin.keys.change(made.id, weight=4, safety=None, limits={"max_queued": 7})
    assert (changed.rules["weight"], changed.rules["safety"], changed.rules["max_priority"]) == (4, None, 1)
    assert (changed.rules["limits"]["max_queued"], changed.rules["limits"]["max_in_flight"]) == (7, 2)
    assert [each.id for each in await admin.keys.list()][-1] == made.id

    holder = with_key(made.secret)
    assert (await holder.usage()).queued == 0
    with pytest.raises(PermissionDenied):
        await holder.keys.list()


async def test_a_rotated_key_has_a_new_secret_and_a_revoked_one_is_refused(
    admin: Either, with_key: Callable[[str], Either]
):
    made = await admin.keys.create(name="a")
    rotated = await admin.keys.rotate(made.id, grace_s=600)
    assert rotated.id == made.id and rotated.secret not in (None, made.secret)
    for secret in (made.secret, rotated.secret):
        await with_key(secret).usage()
    last = await admin.keys.rotate(made.id)
    revoked = await admin.keys.revoke(made.id)
    assert revoked.revoked_at is not None and revoked.secret is None
    with pytest.raises(AuthenticationError, match="revoked"):
        await with_key(last.secret).usage()


async def test_a_key_that_owns_jobs_is_not_deleted(admin: Either, with_key: Callable[[str], Either]):
    made = await admin.keys.create(name="a")
    holder = with_key(made.secret)
    job = await holder.submit("a cat")
    assert (await admin.keys.usage(made.id)).queued == 1
    with pytest.raises(Conflict):
        await admin.keys.delete(made.id)
    await holder.jobs.delete(job)
    assert await admin.keys.delete(made.id) is None
    with pytest.raises(NotFound):
        await admin.keys.get(made.id)


@pytest.mark.parametrize(
    "rules",
    [{}, {"name": ""}, {"name": "a", "scopes": ["root"]}, {"name": "a", "scopes": []}, {"name": "a", "weight": 0},
     {"name": "a\nb"}, {"name": "a", "scopes": ["submit"], "reads": "x"}, {"name": "a", "kinds": ["fly"]},
     {"name": "a", "models": ["no-such-model"]}, {"name": "a", "limits": {"units": 1}}, {"name": "a", "colour": 1},
     {"name": "a", "limits": {"max_queued": -1}}, {"name": "a", "expires_in_s": 0}],
)  # fmt: skip
async def test_rules_that_are_none_are_named(admin: Either, rules: dict[str, object]):
    with pytest.raises(InvalidParams) as caught:
        await admin.keys.create(**rules)
    assert caught.value.problems and len(await admin.keys.list()) == 1


@pytest.mark.parametrize("key_id", ["no-such-key", "a/b", "ключ", "a b", "?x=1", "%2e%2e", "a\nb", "x" * 3000])
async def test_ids_of_no_key_are_not_found(admin: Either, key_id: str):
    for call in (admin.keys.get, admin.keys.revoke, admin.keys.rotate, admin.keys.delete, admin.keys.usage):
        with pytest.raises(NotFound):
            await call(key_id)
    with pytest.raises(NotFound):
        await admin.keys.change(key_id, weight=2)


@pytest.mark.parametrize("key_id", ["", ".", ".."])
async def test_an_id_that_would_be_another_path_is_not_sent(admin: Either, key_id: str):
    for call in (admin.keys.get, admin.keys.revoke, admin.keys.rotate, admin.keys.delete, admin.keys.usage):
        with pytest.raises(ValueError, match="is not the id of an API key"):
            await call(key_id)


def test_the_clients_know_every_rule():
    from photogram import ApiKey, NewKey

    assert set(NewKey.__annotations__) == set(KeyBody.model_fields)
    view = dict.fromkeys(KeyView.model_fields) | {"id": "a", "name": "b", "scopes": [], "created_at": "2026-01-01"}
    own = {"id", "name", "scopes", "created_at", "expires_at", "revoked_at", "last_used_at"}
    assert set(ApiKey.from_payload(view).rules) == set(KeyView.model_fields) - own


@pytest.fixture
def run(
    server_url: str, key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command where the server's distribution is not installed; gives the exit code, output and errors."""
    monkeypatch.setattr(installed, "entry_points", lambda group: ())
    monkeypatch.setenv("PHOTOGRAM_URL", server_url)
    monkeypatch.setenv("PHOTOGRAM_API_KEY", key)

    def run_command(*arguments: str) -> tuple[int, str, str]:
        code = main(["keys", *arguments])
        return code, *capsys.readouterr()

    return run_command


def test_the_command_line_manages_keys_over_http(run, server_url: str):
    code, out, _ = run("create", "für Söhne & Töchter", "--scope", "submit", "--scope", "read")
    row, secret = out.splitlines()
    key_id, secret = row.split()[0], secret.rpartition(" ")[2]
    assert code == 0 and "submit,read  valid" in row and "für Söhne & Töchter" in row
    assert httpx.get(f"{server_url}/v1/usage", headers={"Authorization": f"Bearer {secret}"}).status_code == 200

    code, out, _ = run("list")
    assert code == 0 and key_id in out and secret not in out and len(out.splitlines()) == 2
    assert [each["id"] for each in json.loads(run("list", "--json")[1])][-1] == key_id
    code, out, _ = run("revoke", key_id)
    assert code == 0 and out.rstrip().endswith("revoked")
    assert json.loads(run("create", "b", "--json")[1])["secret"].startswith("pg_")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("revoke", "no-such-key"), 1, "no-such-key"),
        (("revoke", ""), 2, "'' is not the id of an API key"),
        (("create", ""), 1, "NAME: "),
        (("create", "a\x1b[31mb"), 1, "NAME: must be a line"),
        (("create", "x" * 500), 1, "NAME: "),
        (("list", "--api-key", "pg_wrong"), 1, "401"),
        (("list", "--url", "http://127.0.0.1:9"), 1, "photogram up"),
    ],
)
def test_what_cannot_be_done_with_keys_is_said_in_one_line(run, arguments: tuple[str, ...], code: int, message: str):
    found, out, error = run(*arguments)
    assert (found, out) == (code, "") and message in error and error.count("\n") == 1


def test_a_key_that_may_not_manage_keys_is_told_so(run):
    secret = json.loads(run("create", "b", "--json")[1])["secret"]
    code, _, error = run("list", "--api-key", secret)
    assert code == 1 and "admin" in error

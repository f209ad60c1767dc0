"""``photogram keys`` against a real Valkey: the life of a key from a terminal."""

from __future__ import annotations

import pytest

from service.backbone.key_records import Scope
from service.backbone.key_store import KeyStore
from service.commands.keys import main


@pytest.fixture
def run(redis_url, data, monkeypatch, capsys):
    """Runs one subcommand; gives its exit code and what it printed."""
    monkeypatch.setenv("REDIS_URL", redis_url)

    def command(*arguments):
        code = main(["--data", str(data), *arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return command


def test_the_life_of_a_key(run, redis):
    code, printed = run("create", "shop", "--scope", "submit", "--expires", "90d", "--max-in-flight", "3",
                        "--model", "house", "--enhance", "on")  # fmt: skip
    key_id = printed.split()[1]
    assert code == 0 and f"shown this once: pg_{key_id}_" in printed
    rules = KeyStore(redis).get(key_id).rules
    assert (rules.name, rules.scopes, rules.allowance.max_in_flight) == ("shop", (Scope.SUBMIT,), 3)
    assert redis.hget(f"photogram:preferences:{key_id}", "enhance_prompt") == b"1"
    assert "shop" in run("list")[1] and "max_in_flight: 3" in run("show", key_id)[1]
    assert f"pg_{key_id}_" in run("rotate", key_id, "--grace", "1h")[1]
    assert "0 queued" in run("usage", key_id)[1]
    assert run("revoke", key_id)[0] == 0 and "has been revoked" in run("list")[1]
    assert run("delete", key_id, "--jobs")[0] == 0 and KeyStore(redis).all() == []


def test_a_key_is_changed(run, redis):
    key_id = run("create", "shop", "--max-in-flight", "3", "--expires", "90d")[1].split()[1]
    before = KeyStore(redis).get(key_id).rules
    code, printed = run("set", key_id, "--weight", "4", "--units-per-day", "100", "--enhance", "off")
    assert code == 0 and "weight: 4" in printed
    rules = KeyStore(redis).get(key_id).rules
    limits = rules.allowance
    assert (rules.name, rules.expires_at, rules.weight) == ("shop", before.expires_at, 4)
    assert (limits.max_in_flight, limits.units_per_day) == (3, 100)
    assert run("set", key_id, "--weight", "0") == (1, "photogram keys: --weight must be 1 to 1000\n")


def test_all_rules_that_are_wrong_are_told_by_their_flags(run):
    key_id = run("create", "shop")[1].split()[1]
    wrong = ("--weight", "1001", "--reads", "nobody", "--max-in-flight", "9" * 14, "--stored-bytes", "9" * 15)
    assert run("set", key_id, *wrong) == (
        1,
        "photogram keys: --weight must be 1 to 1000; --max-in-flight must be 0 to 1000000000000;"
        " --reads a key that reads the jobs of another key cannot have the scope submit;"
        " --reads there is no API key 'nobody'\n",
    )


def test_models_and_kinds_that_there_are_not_are_refused(run):
    key_id = run("create", "shop")[1].split()[1]
    for command in (("create", "shop"), ("set", key_id)):
        told = "there is no model 'hause' (did you mean 'house'?); there are: house, photogram-eyes"
        assert run(*command, "--model", "hause") == (1, f"photogram keys: --model {told}\n")
        assert "there is no kind 'txt2pic'" in run(*command, "--kind", "txt2pic")[1]


def test_a_vision_model_is_a_model_of_a_key(run, data):
    (data / "catalog.toml").write_text('[vision.eyes]\nfolder = "eyes"\n')
    code, printed = run("create", "shop", "--model", "eyes", "--kind", "classify")
    assert code == 0
    assert "models: eyes" in run("show", printed.split()[1])[1]


def test_mistakes_are_told(run):
    assert run("show", "nobody") == (1, "photogram keys: there is no API key 'nobody'\n")
    for flag, value in (
        ("--expires", "soon"), ("--expires", "0d"), ("--expires", "99999999999d"), ("--retention", "99999999999d"),
    ):  # fmt: skip
        with pytest.raises(SystemExit):
            run("create", "x", flag, value)
    run("list")  # what argparse printed above is read with it
    for name in ("", " ", "a\nb", "x\x1b[31m", "x" * 201):
        assert run("create", name) == (1, "photogram keys: name must be a line of 1 to 200 printable characters\n")


def test_a_server_that_does_not_run_is_told(data, monkeypatch, capsys):
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert main(["--data", str(data), "list"]) == 1
    assert "no photogram up runs with the folder" in capsys.readouterr().err

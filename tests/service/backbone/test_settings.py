"""The settings: their variables, their defaults, and the errors that name a variable."""

from __future__ import annotations

import pytest

from models.jobs.urls import FetchPolicy
from service.backbone.setting_values import whole
from service.backbone.settings import Settings, SettingsError


def test_settings_of_images_are_read() -> None:
    settings = Settings.from_environment({})
    assert (settings.max_body_bytes, settings.max_input_bytes) == (64 << 20, 20 << 20)
    assert (settings.image_ttl_s, settings.fetch_private) == (None, False)
    given = {"PHOTOGRAM_IMAGE_TTL_S": "60", "PHOTOGRAM_FETCH_PRIVATE": "1", "PHOTOGRAM_MAX_INPUT_BYTES": "9"}
    settings = Settings.from_environment(given)
    assert (settings.image_ttl_s, settings.fetch_private, settings.max_input_bytes) == (60, True, 9)
    assert Settings.from_environment({"PHOTOGRAM_IMAGE_TTL_S": "0"}).image_ttl_s is None
    for name, value in (("PHOTOGRAM_FETCH_PRIVATE", "yes"), ("PHOTOGRAM_IMAGE_TTL_S", "-1")):
        with pytest.raises(SettingsError, match=name):
            Settings.from_environment({name: value})


def test_ports_and_hosts_to_fetch_from_are_read() -> None:
    assert Settings.from_environment({}).fetch_policy == FetchPolicy()
    given = {"PHOTOGRAM_FETCH_PORTS": "443, 8443", "PHOTOGRAM_FETCH_HOSTS": "Example.org, *.cdn.example,"}
    policy = Settings.from_environment(given | {"PHOTOGRAM_FETCH_PRIVATE": "1"}).fetch_policy
    assert policy == FetchPolicy(
        allow_private=True, ports=frozenset({443, 8443}), hosts=("example.org", "*.cdn.example")
    )
    for name, value in (
        ("PHOTOGRAM_FETCH_PORTS", "http"), ("PHOTOGRAM_FETCH_PORTS", "0"), ("PHOTOGRAM_FETCH_PORTS", "80;443"),
        ("PHOTOGRAM_FETCH_HOSTS", "*"), ("PHOTOGRAM_FETCH_HOSTS", "https://example.org"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=name):
            Settings.from_environment({name: value})


def test_settings_name_the_variable_that_is_not_valid():
    assert Settings.from_environment({}).prodia_list_type == "text/plain;charset=UTF-8"
    for name, value in {
        "PHOTOGRAM_PRODIA_LIST_TYPE": "xml",
        "PHOTOGRAM_ROWS": "many",
        "PHOTOGRAM_MAX_QUEUED": "x",
    }.items():
        with pytest.raises(SettingsError, match=name):
            Settings.from_environment({name: value})


def test_workers_and_those_that_share_a_device_are_read() -> None:
    settings = Settings.from_environment({})
    assert (settings.workers, settings.device_workers) == (None, 1)
    assert Settings.from_environment({"PHOTOGRAM_WORKERS": "auto"}).workers is None
    settings = Settings.from_environment({"PHOTOGRAM_WORKERS": "3", "PHOTOGRAM_DEVICE_WORKERS": "2"})
    assert (settings.workers, settings.device_workers) == (3, 2)
    for value in ("0", "many", "-1"):
        with pytest.raises(SettingsError, match="PHOTOGRAM_WORKERS must be auto or a whole number of at least 1"):
            Settings.from_environment({"PHOTOGRAM_WORKERS": value})


def test_modules_of_job_kinds_are_separated_by_commas() -> None:
    assert Settings.from_environment({}).job_kinds == ()
    settings = Settings.from_environment({"PHOTOGRAM_JOB_KINDS": "a.b, c,"})
    assert settings.job_kinds == ("a.b", "c")
    with pytest.raises(SettingsError, match="PHOTOGRAM_JOB_KINDS must be names of Python modules"):
        Settings.from_environment({"PHOTOGRAM_JOB_KINDS": "a/b.py"})


def test_files_lie_in_the_data_folder() -> None:
    settings = Settings.from_environment({"PHOTOGRAM_DATA": "/data"})
    assert str(settings.files_folder) == "/data/files"


def test_hosts_origins_and_proxies_are_lists() -> None:
    given = {
        "PHOTOGRAM_HOSTS": "Example.org, *.lan,[::1]:8000,photogram_gateway",
        "PHOTOGRAM_CORS_ORIGINS": "http://localhost:5173/, https://Example.org, chrome-extension://abc",
        "PHOTOGRAM_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
    }
    settings = Settings.from_environment(given)
    assert settings.hosts == ("example.org", "*.lan", "[::1]:8000", "photogram_gateway")
    assert settings.cors_origins == ("http://localhost:5173", "https://example.org", "chrome-extension://abc")
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert Settings.from_environment({"FORWARDED_ALLOW_IPS": "*"}).trusted_proxies == ("*",)
    assert Settings.from_environment({"PHOTOGRAM_CORS_ORIGINS": "*"}).cors_origins == ("*",)
    unset = Settings.from_environment({})
    assert (unset.hosts, unset.cors_origins, unset.trusted_proxies) == ((), (), ("127.0.0.1", "::1"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PHOTOGRAM_HOSTS", "https://example.org"),
        ("PHOTOGRAM_HOSTS", "a b"),
        ("PHOTOGRAM_CORS_ORIGINS", "example.org"),
        ("PHOTOGRAM_CORS_ORIGINS", "https://example.org/path"),
        ("PHOTOGRAM_CORS_ORIGINS", "https://*.example.org"),
        ("PHOTOGRAM_TRUSTED_PROXIES", "10.0.0.0/40"),
        ("PHOTOGRAM_TRUSTED_PROXIES", "proxy"),
        ("PHOTOGRAM_WRONG_KEYS_PER_MINUTE", "-1"),
        ("PHOTOGRAM_PUBLIC_URL", "no address"),
        ("PHOTOGRAM_PUBLIC_URL", "ftp://example.org"),
    ],
)
def test_lists_with_a_wrong_entry_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({name: value})


def test_a_first_key_must_be_hard_to_guess() -> None:
    assert Settings.from_environment({"PHOTOGRAM_BOOTSTRAP_KEY": "test-key-123456"}).bootstrap_key == "test-key-123456"
    for weak in ("x", "a" * 40, "12121212121212", "short-key-1"):
        with pytest.raises(SettingsError, match="PHOTOGRAM_BOOTSTRAP_KEY must have at least 12 characters") as refused:
            Settings.from_environment({"PHOTOGRAM_BOOTSTRAP_KEY": weak})
        assert repr(weak) not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("0", "at least 1"), ("-1", "at least 1"), ("1.5", "at least 1"), ("7", None), ("10", "at most 9"),
     ("1" + "0" * 30, "at most 9")],
)  # fmt: skip
def test_a_whole_number_out_of_its_range_says_which_end(text: str, reason: str | None) -> None:
    if reason is None:
        assert whole(1, 9)(text) == int(text)
        return
    with pytest.raises(ValueError, match=reason):
        whole(1, 9)(text)

"""Settings: where they come from, which are refused."""

import pytest
from photogram import AsyncPhotogram, Photogram
from photogram._config import Config


def resolve(base_url: str | None = None, api_key: str | None = None) -> Config:
    return Config.resolve(base_url, api_key, timeout_s=1.0, max_retries=0)


def test_defaults_environment_and_arguments(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PHOTOGRAM_URL", raising=False)
    monkeypatch.delenv("PHOTOGRAM_API_KEY", raising=False)
    assert (resolve().base_url, resolve().api_key) == ("http://127.0.0.1:8000", None)

    monkeypatch.setenv("PHOTOGRAM_URL", "https://images.test/")
    monkeypatch.setenv("PHOTOGRAM_API_KEY", "from-env")
    assert (resolve().base_url, resolve().api_key) == ("https://images.test", "from-env")
    assert (resolve("http://a.test").base_url, resolve(api_key="b").api_key) == ("http://a.test", "b")
    assert resolve(api_key="").api_key is None


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "http://host:port"])
def test_a_bad_address_is_refused(url: str):
    with pytest.raises(ValueError, match="server's URL"):
        Photogram(url)
    with pytest.raises(ValueError, match="server's URL"):
        AsyncPhotogram(url)


@pytest.mark.parametrize("key", ["with space", "line\n", "schlüssel"])
def test_a_bad_key_is_refused_without_being_told(key: str):
    with pytest.raises(ValueError, match="the API key contains") as caught:
        Photogram(api_key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("settings", [{"timeout_s": 0}, {"max_retries": -1}])
def test_limits_that_are_none(settings: dict[str, float]):
    with pytest.raises(ValueError, match="must be"):
        Photogram(**settings)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("a b", "x", "not the name of a header"),
        ("Authorization", "secret", "sets the header authorization itself"),
        ("X-Pass", "secret\r\nX-Other: 1", "a text of ASCII"),
        ("X-Pass", 7, "a text of ASCII"),
    ],
)
def test_bad_headers_are_refused_without_their_values(name: str, value: str, reason: str):
    with pytest.raises(ValueError, match=reason) as caught:
        Photogram(headers={name: value})
    assert "secret" not in str(caught.value)


def test_the_key_is_not_in_the_repr():
    assert "secret" not in repr(resolve(api_key="secret"))

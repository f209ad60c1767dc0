"""Settings that cannot be used are refused before anything starts, each by its name and in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.backbone.settings import Settings, SettingsError
from service.commands import config, up
from tests.service.commands.test_up import up as run_up

LONG, CONTROL = "9" * 5000, "a\nb"
WRONG = {
    "redis_url": ("http://host", "redis://host:99999", "redis://host/x", "redis://host/0?foo=1", "unix://"),
    "redis_wait_replicas": ("-1", LONG),
    "data": ("~no-such-user/x", CONTROL, "/dev/null", "/dev/null/x"),
    "cache": ("~no-such-user/x", CONTROL, "/dev/null/cache"),
    "public_url": ("example.org", "http://exa mple/", "http://host:99999", "http://host/?x", "http://host/#x"),
    "hosts": ("https://example.org",),
    "trusted_proxies": ("proxy",),
    "cors_origins": ("example.org",),
    "bootstrap_key": ("short",),
    "wrong_keys_per_minute": ("x",),
    "key_requests_per_minute": ("-1", LONG),
    "key_max_in_flight": ("1.5",),
    "key_max_queued": ("x",),
    "key_units_per_day": ("x", "9" * 17),
    "key_units_per_month": ("x",),
    "key_stored_bytes": ("1GB",),
    "metrics_open_to": ("everybody",),
    "metrics_by_key": ("yes",),
    "max_body_bytes": ("0",),
    "max_bodies_bytes": ("0",),
    "request_timeout_s": ("0", "nan", "1e300"),
    "response_timeout_s": ("inf",),
    "max_connections": ("0",),
    "max_connections_per_address": ("0",),
    "max_input_bytes": ("0",),
    "max_source_px": ("x",),
    "max_output_px": ("x",),
    "max_step_px": ("x",),
    "max_peak_bytes": ("x",),
    "decoding_px": ("0",),
    "image_ttl_s": ("x",),
    "min_free_bytes": ("x",),
    "storage": ("/a/folder", "s3://BUCKET"),
    "storage_downloads": ("direct",),
    "s3_endpoint": ("minio:9000", "http://mi nio"),
    "s3_region": (CONTROL,),
    "s3_path_style": ("true",),
    "s3_access_key_id": (CONTROL, "a b"),
    "s3_secret_access_key": (CONTROL,),
    "s3_session_token": ("\u00fc",),
    "s3_encryption": ("aes",),
    "s3_kms_key": (CONTROL,),
    "s3_timeout_s": ("0",),
    "group_reads_images": ("yes",),
    "provenance": ("c2pa2",),
    "provenance_certificate": ("/no/such/file.pem", CONTROL),
    "provenance_key": ("/no/such/file.pem", CONTROL),
    "safety": ("on",),
    "safety_threshold": ("nan", "1.1"),
    "safety_fails": ("shut",),
    "safety_model": ("no-such-model", CONTROL),
    "safety_labels": (",",),
    "safety_hook": ("os", "a..b:c", "no_such_module:check", "no_such_package.module:check"),
    "search": ("yes",),
    "fetch_private": ("yes",),
    "fetch_ports": ("http",),
    "fetch_hosts": ("*",),
    "webhook_private": ("yes",),
    "webhook_ports": ("0",),
    "webhook_hosts": ("*",),
    "max_queued": ("0",),
    "job_timeout_s": ("0", "9" * 12),
    "training_timeout_s": ("0",),
    "agents": ("0", "1001"),
    "agent_timeout_s": ("0",),
    "agent_answer_timeout_s": ("0",),
    "agent_python": ("perhaps",),
    "training_device": ("gpu",),
    "register_finetuned": ("yes",),
    "snapshot_every": ("x",),
    "record_ttl_s": ("0", "9" * 12),
    "rows": ("x",),
    "backend": ("openvinoo",),
    "model_bytes": ("8G",),
    "device": ("gpu9", "cuda:x", "cuda:", "CPU", "meta"),
    "workers": ("0", "100000"),
    "device_workers": ("0",),
    "prodia_list_type": ("xml",),
    "prodia_keyless": ("yes",),
    "llm": ("on",),
    "llm_url": ("localhost:8001", "http://host/v1?key=1"),
    "llm_model": (CONTROL,),
    "llm_key": (CONTROL, "\u00fc"),
    "llm_preset": ("no-such-preset",),
    "llm_deadline_s": ("x",),
    "job_kinds": ("a/b.py", "no_such_module"),
    "log_level": ("LOUD",),
    "log_format": ("xml",),
    "log_prompts": ("yes",),
}
"""Texts that are no values, for every setting."""
CASES = [(each.name, each.variables[0], text) for each in Settings.declared() for text in WRONG[each.name]]


def test_every_setting_has_values_that_are_refused() -> None:
    assert set(WRONG) == {each.name for each in Settings.declared()}


@pytest.mark.parametrize(("name", "variable", "text"), CASES)
def test_config_and_up_name_the_setting_that_cannot_be_used(
    name: str,
    variable: str,
    text: str,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(up, "configure_logging", lambda *_: None)
    monkeypatch.setenv(variable, text)
    place = [] if name == "data" else ["--data", str(data)]
    assert config.main(["show", *place]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"photogram config: {variable}") and len(line) < 400
    with pytest.raises(SettingsError) as refused:
        up._configured(up._parser().parse_args([*place, "--temporary"]))
    assert f"photogram config: {refused.value}" == line
    if next(each.is_secret for each in Settings.declared() if each.name == name):
        assert repr(text) not in line


def test_keys_of_s3_are_set_together(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    assert config.main(["show", "--data", str(data)]) == 0, "variables of AWS have no effect on a folder"
    monkeypatch.setenv("PHOTOGRAM_STORAGE", "s3://bucket")
    assert config.main(["show", "--data", str(data)]) == 2


def test_all_that_is_missing_is_told_in_one_line_with_its_place(data: Path) -> None:
    (data / "photogram.toml").write_text('safety_model = "gone"\nsafety_hook = "gone:check"\njob_kinds = "gone"\n')
    (data / "catalog.toml").write_text("[checkpoints\n")
    done = run_up(data)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    for words in ("photogram.toml, line 2: safety_hook cannot be used", "PHOTOGRAM_JOB_KINDS", "catalog.toml"):
        assert words in line
    assert sorted(path.name for path in data.iterdir()) == ["catalog.toml", "photogram.toml"]

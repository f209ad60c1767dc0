"""The commands that need the server's language model."""

import json
from pathlib import Path

import pytest
from photogram_cli.command import main

from .wire_server import LATE, PNG, WireServer, problem


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_generate_shows_both_prompts(server: WireServer, capsys: pytest.CaptureFixture[str]):
    assert main(["generate", "a cat", "--enhance"]) == 0

    out, err = capsys.readouterr()
    assert out.splitlines()[:4] == [
        "file     photogram.png",
        "prompt   a cat",
        "revised  a cat, sleeping",
        "seed     77",
    ]
    assert err.splitlines()[:3] == ["queued", "running", "rewrite applied"]
    [record] = server.records.values()
    assert record.body["params"] == {"prompt": "a cat", "enhance_prompt": True}


def test_generate_leaves_to_the_server_what_is_not_said(server: WireServer):
    for options in ([], ["--no-enhance"]):
        assert main(["generate", "a cat", *options]) == 0
    unsaid, refused = (record.body["params"] for record in server.records.values())
    assert unsaid == {"prompt": "a cat"} and refused == {"prompt": "a cat", "enhance_prompt": False}


def test_generate_shows_why_the_prompt_stayed(server: WireServer, capsys: pytest.CaptureFixture[str]):
    server.rewrite = LATE
    assert main(["generate", "a cat", "--enhance"]) == 0
    assert capsys.readouterr().out.splitlines()[1:3] == ["prompt   a cat", "rewrite  timeout: no answer in 2.5 s"]


def test_jobs_shows_both_prompts(server: WireServer, capsys: pytest.CaptureFixture[str]):
    main(["generate", "a cat", "--enhance", "--json"])
    job = json.loads(capsys.readouterr().out)["job"]
    assert job["rewrite"]["engine"] == "tiny" and job["revised_prompt"] == "a cat, sleeping"

    assert main(["jobs", "show", job["id"]]) == 0
    assert "prompt   a cat\nrevised  a cat, sleeping\n" in capsys.readouterr().out


def test_rewrite(server: WireServer, capsys: pytest.CaptureFixture[str]):
    server.rewrite = {**server.rewrite, "revised_negative_prompt": "dogs"}
    assert main(["rewrite", "a cat", "--model", "house"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "prompt   a cat",
        "revised  a cat, sleeping",
        "negative dogs",
        "tokens   6 of 75",
        "profile  tags",
        "engine   tiny",
        "timings  rewrite 0.50 s",
    ]
    assert server.asked == [{"prompt": "a cat", "model": "house"}]
    assert main(["rewrite", "a cat", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rewrite"]["status"] == "applied"


def test_assist(server: WireServer, somewhere: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("1.png", "2.png"):
        (somewhere / name).write_bytes(PNG)
    assert main(["assist", "draw me a cat", "--image", "1.png", "--image", "2.png"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "call     find_models: answered",
        "call     create_image: proposed",
        "says     Here is a cat.",
        "kind     txt2img",
        "prompt   a cat",
        "params   aspect_ratio=3:2, seed=5",
    ]
    assert len(server.asked[0]["images"]) == 2 and not server.records
    assert main(["assist", "draw me a cat", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"]["seed"] == 5


def test_assist_draws(server: WireServer, somewhere: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["assist", "draw me a cat", "--draw", "-o", "cat.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "kind     txt2img" in lines and "file     cat.png" in lines
    assert (somewhere / "cat.png").read_bytes() == PNG

    assert main(["assist", "draw me a cat", "--draw", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["proposal"]["message"] == "Here is a cat."
    assert document["file"] == "photogram.png" and document["job"]["status"] == "succeeded"


def test_a_place_without_an_image_and_an_image_without_a_place(server: WireServer, capsys: pytest.CaptureFixture[str]):
    assert main(["assist", "a cat", "-o", "cat.png"]) == 2
    assert main(["assist", "a cat", "--draw", "-o", "no/such/place.png"]) == 1
    assert main(["assist", "a cat", "--image", "none.png"]) == 1
    assert capsys.readouterr().err.count("photogram: ") == 3 and server.requests == []


def test_a_refusal_takes_one_line(server: WireServer, capsys: pytest.CaptureFixture[str]):
    server.answer_next(lambda: problem(503, "language_unavailable", "there is no language model"))
    assert main(["assist", "a cat"]) == 1
    assert capsys.readouterr().err == "photogram: there is no language model (503 language_unavailable)\n"


def test_what_a_model_wrote_does_nothing_to_the_terminal(server: WireServer, capsys: pytest.CaptureFixture[str]):
    written = "a cat \x1b[2J\nfile     x\ud83d 家"
    server.rewrite = {**server.rewrite, "revised_prompt": written}
    assert main(["rewrite", "a cat"]) == 0
    out = capsys.readouterr().out
    assert "revised  a cat \\u001b[2J\\u000afile     x\\ud83d 家\n" in out
    out.encode()

    assert main(["rewrite", "a cat", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["revised_prompt"] == written
    out.encode()

"""The command `photogram`: output, exit codes, Ctrl-C."""

import functools
import io
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from photogram import Photogram, __version__
from photogram.progress import Bar
from photogram_cli.command import main
from photogram_cli.files import output_of
from rich.console import Console

from .wire_server import KEY, PNG, WireServer, problem

# A parent that runs in the background may have told its children to ignore Ctrl-C.
SCRIPT = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from photogram_cli.command import main; sys.exit(main())"
)


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_generate(server: WireServer, somewhere: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--steps", "20", "--guidance", "7.5", "--seed", "3", "--width", "64", "--height", "48"]
    words = ["--model", "house", "--sampler", "ddim", "--negative-prompt", "dogs"]
    assert main(["generate", "a cat", "-o", "cat.png", *options, *words]) == 0

    out, err = capsys.readouterr()
    *lines, timings = out.splitlines()
    assert lines == [
        "file     cat.png",
        "seed     3",
        "model    house",
        "sampler  ddim",
        "steps    20",
        "size     64x48",
    ]
    assert (
        timings.startswith("timings  queued 0.0") and "prepare 0.25 s, denoise 1.50 s, finish 0.12 s, total" in timings
    )
    assert err.splitlines() == ["queued", "running", *(f"step {n}/20" for n in range(2, 21, 2)), "succeeded"]
    assert (somewhere / "cat.png").read_bytes() == PNG
    [record] = server.records.values()
    assert record.body["params"] == {
        "prompt": "a cat",
        "negative_prompt": "dogs",
        "model": "house",
        "sampler": "ddim",
        "num_inference_steps": 20,
        "guidance_scale": 7.5,
        "seed": 3,
        "width": 64,
        "height": 48,
    }


def test_warnings_follow_the_image(server: WireServer, somewhere: Path, capsys: pytest.CaptureFixture[str]):
    server.warnings = ["the model does not know 'zeppelin'"]
    assert main(["generate", "a zeppelin"]) == 0
    assert capsys.readouterr().out.endswith("\nwarning  the model does not know 'zeppelin'\n")


def test_generate_as_json_with_defaults(server: WireServer, somewhere: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["generate", "a cat", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["file"] == "photogram.png" and (somewhere / "photogram.png").exists()
    assert document["job"]["status"] == "succeeded" and document["job"]["params"]["seed"] == 77
    assert document["timings"]["denoise_s"] == 1.5 and document["timings"]["total_s"] > 0


@pytest.mark.parametrize(
    ("flags", "is_shown"), [((), True), (("--no-show",), False), (("--json",), False), (("-o", "/dev/null"), True)]
)
def test_a_terminal_shows_the_image(
    server: WireServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags, is_shown: bool
):
    monkeypatch.setattr(
        "photogram_cli.drawing.Console", functools.partial(Console, force_terminal=True, force_interactive=False)
    )
    monkeypatch.setenv("TERM", "xterm-kitty")
    assert main(["generate", "a cat", *flags]) == 0
    assert ("\x1b_G" in capsys.readouterr().out) == is_shown


def test_a_terminal_gets_a_bar(server: WireServer):
    console = Console(force_terminal=True, record=True, file=io.StringIO())
    with Photogram() as client, Bar(console) as display:
        client.generate("a cat", on_event=display)
    assert "4/4" in console.export_text()


def test_jobs(server: WireServer, capsys: pytest.CaptureFixture[str]):
    main(["generate", "a cat", "--json"])
    job_id = json.loads(capsys.readouterr().out)["job"]["id"]

    assert main(["jobs", "show", job_id]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        f"id       {job_id}",
        "kind     txt2img",
        "status   succeeded",
        "progress 4/4",
        "prompt   a cat",
    ]
    assert lines[-1] == f"image    {server.url}/images/{job_id}.png"
    server.records[job_id].job["warnings"] = ["this is\nodd"]
    assert main(["jobs", "show", job_id]) == 0
    assert capsys.readouterr().out.endswith("warning  this is\\u000aodd\n")
    assert main(["jobs", "cancel", job_id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "succeeded"
    assert main(["jobs", "show", "nobody"]) == 1
    assert capsys.readouterr().err == "photogram: there is no job nobody (404 not_found)\n"


def test_samplers(server: WireServer, capsys: pytest.CaptureFixture[str]):
    assert main(["samplers"]) == 0 and capsys.readouterr().out == "euler\nddim\nodd (unusable: too odd)\n"
    assert main(["samplers", "--json"]) == 0 and json.loads(capsys.readouterr().out) == ["euler", "ddim"]


CLIENT = Path(__file__).parents[2] / "clients/python"


@pytest.mark.parametrize("imported", ["httpx2", "rich", "argparse"])
def test_ctrl_c_while_modules_are_imported_is_one_line(tmp_path: Path, imported: str):
    """The entry point, as an installed script calls it; an import on its way sends the signal of Ctrl-C."""
    module = tmp_path / f"{imported}.py"
    module.write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    scripts = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]["scripts"]
    where, _, name = scripts["photogram"].partition(":")
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        f"sys.path[:0] = [{str(tmp_path)!r}]; from {where} import {name}; sys.exit({name}())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "jobs", "show", "x"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "photogram: interrupted\n")


@pytest.mark.parametrize(
    "place", ["photogram_cli.command.build_parser", "photogram_cli.command.found_commands", "photogram.Photogram"]
)
def test_ctrl_c_at_the_start_is_one_line(
    place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupt)
    assert main(["up" if place.endswith("found_commands") else "samplers"]) == 130
    assert capsys.readouterr().err == "photogram: interrupted\n"


def test_url_and_key_as_arguments(server: WireServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHOTOGRAM_URL", "http://127.0.0.1:9")
    server.needs_key = True
    assert main(["samplers", "--url", server.url, "--api-key", KEY]) == 0
    assert main(["samplers", "--url", server.url, "--api-key", "wrong"]) == 1


def test_nobody_listens(capsys: pytest.CaptureFixture[str]):
    assert main(["samplers", "--url", "http://127.0.0.1:9"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "http://127.0.0.1:9" in err and "photogram up" in err


def test_failures_take_one_line(server: WireServer, capsys: pytest.CaptureFixture[str]):
    assert main(["generate", "a cat", "--width", "65"]) == 1
    assert capsys.readouterr().err.endswith("photogram: --width: must be a multiple of 8\n")
    server.answer_next(lambda: problem(500, "broken", "two\nlines"))
    assert main(["samplers"]) == 1
    assert capsys.readouterr().err == "photogram: two lines (500 broken)\n"
    server.outcome = "failed"
    assert main(["generate", "a cat"]) == 1
    assert "too large for this device (out_of_memory)" in capsys.readouterr().err.splitlines()[-1]


def test_a_file_that_exists_is_not_overwritten(server: WireServer, somewhere: Path, capsys: pytest.CaptureFixture[str]):
    (somewhere / "x.png").write_bytes(b"mine")
    assert main(["generate", "a cat", "-o", "x.png"]) == 1
    assert "x.png exists: choose another name, or add --overwrite" in capsys.readouterr().err and server.requests == []
    assert (somewhere / "x.png").read_bytes() == b"mine"
    assert main(["generate", "a cat", "-o", "x.png", "--overwrite"]) == 0
    assert (somewhere / "x.png").read_bytes() == PNG
    assert main(["generate", "a cat", "-o", "/dev/null"]) == 0


def test_without_a_name_the_next_free_one_is_used(
    server: WireServer, somewhere: Path, capsys: pytest.CaptureFixture[str]
):
    for name in ("photogram.png", "photogram-2.png", "photogram-3.png"):
        assert main(["generate", "a cat"]) == 0
        assert f"file     {name}\n" in capsys.readouterr().out
        assert (somewhere / name).read_bytes() == PNG
    (somewhere / "photogram.png").write_bytes(b"old")
    assert main(["generate", "a cat", "--overwrite"]) == 0
    assert (somewhere / "photogram.png").read_bytes() == PNG


def test_a_file_that_appears_during_the_job_stays(somewhere: Path):
    output = output_of("x.png", as_json=False)
    (somewhere / "x.png").write_bytes(b"mine")
    assert output.write(PNG).path == Path("x-2.png")
    assert (somewhere / "x.png").read_bytes() == b"mine" and (somewhere / "x-2.png").read_bytes() == PNG


@pytest.mark.parametrize(
    ("field", "argument"),
    [
        ("params.num_inference_steps", "--steps"),
        ("params.guidance_scale", "--guidance"),
        ("params.mask.image", "--mask"),
        ("params.prompt", "PROMPT"),
        ("params.enhance_prompt", "--enhance"),
        ("params.of_a_later_version", "params.of_a_later_version"),
    ],
)
def test_errors_name_the_argument(server: WireServer, field: str, argument: str, capsys: pytest.CaptureFixture[str]):
    errors = [{"field": field, "message": "is wrong"}]
    server.answer_next(lambda: problem(422, "invalid_params", f"{field}: is wrong", errors=errors))
    assert main(["generate", "a cat"]) == 1
    assert capsys.readouterr().err.endswith(f"photogram: {argument}: is wrong\n")


def test_the_address_of_the_last_server_is_found(
    server: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("PHOTOGRAM_URL")
    config = tmp_path / "photogram" / "config.toml"
    config.parent.mkdir()
    config.write_text(f'url = "{server.url}"\ndata = "/x"\n')
    assert main(["samplers"]) == 0
    monkeypatch.setenv("PHOTOGRAM_URL", "http://127.0.0.1:9")
    assert main(["samplers"]) == 1
    monkeypatch.delenv("PHOTOGRAM_URL")
    capsys.readouterr()
    for text in ("url = 3", "url ="):
        config.write_text(text)
        assert main(["samplers"]) == 2
        assert str(config) in capsys.readouterr().err


@pytest.mark.parametrize("output", [".", "no/such/place.png"])
def test_no_job_for_an_image_without_a_place(server: WireServer, output: str, capsys: pytest.CaptureFixture[str]):
    assert main(["generate", "a cat", "-o", output]) == 1
    assert capsys.readouterr().err.startswith("photogram: ") and server.requests == []


MISUSES = [[], ["nonsense"], ["generate"], ["generate", "a cat", "--steps", "many"], ["jobs"], ["jobs", "show"]]


@pytest.mark.parametrize("argv", MISUSES)
def test_misuse_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2 and "usage: photogram" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["samplers", "--url", "nowhere"], ["jobs", "show", "a/b"]])
def test_values_that_cannot_be_exit_with_2(server: WireServer, argv: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("photogram: ")


def test_version(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0 and capsys.readouterr().out == f"photogram {__version__}\n"


def test_ctrl_c_cancels_the_job_and_exits_with_130(server: WireServer, somewhere: Path):
    server.outcome = "never"
    command = [sys.executable, "-c", SCRIPT, "generate", "a cat"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not server.calls("GET"):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)

    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "photogram: interrupted"
    [record] = server.records.values()
    assert record.job["status"] == "canceled" and not (somewhere / "photogram.png").exists()


@pytest.mark.parametrize(
    ("name", "fetched"),
    [("x.jpg", ".jpg"), ("x.JPEG", ".jpg"), ("x.webp", ".webp"), ("x.png", ".png"), ("x.PNG", ".png"), ("x", ".png")],
)
def test_the_extension_decides_the_format(server: WireServer, somewhere: Path, name: str, fetched: str):
    assert main(["generate", "a cat", "-o", name]) == 0
    assert (somewhere / name).read_bytes() == PNG  # the fake has the same bytes for every format
    assert [target for _, target, _ in server.requests if target.startswith("/images/")][-1].endswith(fetched)


@pytest.mark.parametrize("name", ["x.gif", "x.tiff", "x.svg", "x.jpg2", "a.b/x.txt"])
def test_an_unknown_extension_is_told_before_any_job(server: WireServer, name: str, capsys: pytest.CaptureFixture[str]):
    assert main(["generate", "a cat", "-o", name]) == 2
    assert "the extensions are .png, .jpg" in capsys.readouterr().err and server.requests == []


def run_piped(server: WireServer, *argv: str, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", SCRIPT, *argv], input=text, capture_output=True, timeout=60)


def test_an_image_goes_to_standard_output_alone(server: WireServer, somewhere: Path):
    done = run_piped(server, "generate", "a cat", "-o", "-")
    assert (done.returncode, done.stdout) == (0, PNG) and b"file     -" in done.stderr
    assert not (somewhere / "-").exists()


@pytest.mark.parametrize("several", [["--best-of", "2", "--keep", "2"], ["-n", "2"], ["-n", "1", "-p", "keep=2"]])
def test_standard_output_takes_one_image(server: WireServer, several: list[str], capsys: pytest.CaptureFixture[str]):
    os.mkfifo("pipe.png")
    for output, place in (("-", "standard output"), ("pipe.png", "pipe.png")):
        assert main(["generate", "a cat", *several, "-o", output]) == 2
        line = f"photogram: {place} takes one image, and there would be several: write them to files\n"
        assert capsys.readouterr().err == line and server.requests == []


def test_a_number_of_kept_images_that_is_none_is_left_to_the_server(server: WireServer, somewhere: Path):
    assert main(["generate", "a cat", "-p", "keep=many"]) == 0
    [record] = server.records.values()
    assert record.body["params"]["keep"] == "many"


def test_standard_output_takes_either_the_image_or_the_json(server: WireServer, capsys: pytest.CaptureFixture[str]):
    assert main(["generate", "a cat", "-o", "-", "--json"]) == 2
    assert "--json prints to standard output" in capsys.readouterr().err and server.requests == []


def test_a_prompt_and_an_image_come_from_standard_input(server: WireServer, somewhere: Path):
    assert run_piped(server, "generate", "-", text=b"a cat\n").returncode == 0
    (somewhere / "in.jpg").write_bytes(b"bytes")
    words = ("generate", "a cat", "--image", "-", "--mask", "in.jpg", "--strength", "0.5")
    assert run_piped(server, *words, text=b"png").returncode == 0
    first, second = (record.body for record in server.records.values())
    assert first["params"] == {"prompt": "a cat"}
    assert second == second | {"kind": "inpaint"} and second["params"] == {
        "prompt": "a cat", "image": "cG5n", "mask": {"image": "Ynl0ZXM="}, "strength": 0.5,
    }  # fmt: skip


def test_standard_input_is_read_once(server: WireServer, capsys: pytest.CaptureFixture[str]):
    assert main(["generate", "-", "--image", "-"]) == 2
    assert "only one argument can be -" in capsys.readouterr().err and server.requests == []


def test_a_url_is_sent_as_it_is(server: WireServer):
    assert main(["generate", "x", "--image", "https://example.org/a.png"]) == 0
    (record,) = server.records.values()
    assert record.body["params"]["image"] == "https://example.org/a.png"  # type: ignore[index]

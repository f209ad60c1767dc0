"""The commands of the kinds of job: flags from the registry, near misses, dry runs, names of files, exit codes."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.responses import JSONResponse, Response
from photogram import __version__
from photogram_cli import installed
from photogram_cli.batch_rows import read_rows
from photogram_cli.command import main
from photogram_cli.completion import SHELLS
from photogram_cli.files import output_of

from .wire_server import PNG, WireServer

SENT = base64.b64encode(PNG).decode()


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(PNG)
    return tmp_path


def bodies(server: WireServer) -> list[dict]:
    return [record.body for record in server.records.values()]


def test_a_deployment_is_a_command_beside_that_of_the_server(server: WireServer):
    argv = ["house", "--backend", "onnxruntime", "--precision", "int8", "--part", "unet", "--part", "vae_decoder"]
    assert main(["deploy-job", *argv, "--shape", "64x64", "--lora", "ink,weight=0.8", "--force"]) == 0
    [body] = bodies(server)
    assert body["kind"] == "deploy" and body["params"] == {
        "model": "house",
        "backend": "onnxruntime",
        "precision": "int8",
        "parts": ["unet", "vae_decoder"],
        "shapes": ["64x64"],
        "loras": [{"name": "ink", "weight": 0.8}],
        "force": True,
    }
    with pytest.raises(SystemExit):
        main(["deploy-job", "house", "--backend", "openvivo"])


def test_objects_lists_and_any_parameter_are_flags(server: WireServer):
    flags = [
        "--lora",
        "film,weight=0.5",
        "--lora",
        "ink",
        "--second-pass",
        "scale=2,upscaler=Lanczos",
        "--clip-skip",
        "2",
    ]
    flags += [
        "-p",
        "refiner.model=xl",
        "-p",
        "reuse_interval=3",
        "-p",
        "mask.blur_px=8",
        "--control",
        "canny,image=cat.png",
    ]
    assert main(["inpaint", "a cat", "cat.png", "https://example.org/a,b=c.png", *flags]) == 0
    [body] = bodies(server)
    assert body["kind"] == "inpaint" and body["params"] == {
        "prompt": "a cat",
        "image": SENT,
        "mask": {"image": "https://example.org/a,b=c.png", "blur_px": 8},
        "loras": [{"name": "film", "weight": 0.5}, {"name": "ink"}],
        "controls": [{"model": "canny", "image": SENT}],
        "second_pass": {"scale": 2.0, "upscaler": "Lanczos"},
        "clip_skip": 2,
        "refiner": {"model": "xl"},
        "reuse_interval": 3,
    }


@pytest.mark.parametrize(
    "argv", [["a"], ["--model", "a"], ["--json", "a", "--tag", "x"], ["--tag", "x", "a", "--json"]]
)
def test_a_vision_model_is_named_at_its_place_or_by_a_flag(server: WireServer, argv: list[str]):
    assert main(["describe-model", *argv]) == 0
    assert [body["params"] for body in bodies(server)] == [{"model": "a"}]


def test_a_vision_model_is_named_once(server: WireServer, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["describe-model", "a", "--model", "b"])
    assert caught.value.code == 2 and "not allowed with argument NAME" in capsys.readouterr().err
    assert main(["describe-model"]) == 0 and [body["params"] for body in bodies(server)] == [{}]


def test_options_of_jobs_are_flags(server: WireServer):
    flags = ["--tag", "a", "--tag", "b", "--metadata", "shop=1", "--retries", "2", "--file-metadata", "none"]
    assert main(["upscale", "cat.png", "--scale", "3", *flags]) == 0
    [body] = bodies(server)
    assert body == {
        "kind": "upscale", "params": {"image": SENT, "scale": 3.0, "metadata": "none"},
        "tags": ["a", "b"], "metadata": {"shop": "1"}, "retries": 2,
    }  # fmt: skip


def test_several_images_have_names_of_their_own(
    server: WireServer, somewhere: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["generate", "a cat", "-n", "2", "--seed", "5", "-o", "{model}-{seed}.png", "--json"]) == 0
    assert [each["file"] for each in json.loads(capsys.readouterr().out)] == ["house-5.png", "house-6.png"]
    for _ in range(2):
        assert main(["generate", "a cat", "-n", "2", "-o", "x.png", "--overwrite"]) == 0
    assert sorted(path.name for path in somewhere.glob("x*")) == ["x-2.png", "x.png"]


@pytest.mark.parametrize("name", ["{user}.png", "{seed.png", "{}.png"])
def test_a_placeholder_that_is_none_is_refused(server: WireServer, name: str):
    assert main(["generate", "a cat", "-o", name]) == 2 and server.requests == []


def test_what_a_server_names_stays_in_the_folder(somewhere: Path):
    values = {"seed": 1, "job": "a", "model": "../../etc/x", "number": 1}
    assert str(output_of("{model}.png", False).named(values)) == "..-..-etc-x.png"


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["genrate", "a cat"], "did you mean generate?"),
        (["generate", "a cat", "--stepz", "3"], "did you mean --steps?"),
        (["generate", "a cat", "--resize-mode", "crup"], "did you mean crop?"),
        (["generate", "a cat", "--lora", "film,wieght=1"], "did you mean weight?"),
        (["jobs", "cansel", "x"], "did you mean cancel?"),
        (["jobs", "list", "--limt", "3"], "did you mean --limit?"),
        (["inpaint", "a hat", "cat.png", "--mask", "cat.png,blur_px=8"], "MASK is given without a flag, at its place"),
        (["edit", "a hat", "cat.png", "--image", "cat.png"], "IMAGE is given without a flag, at its place"),
    ],
)
def test_a_near_miss_is_told(argv: list[str], hint: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2 and hint in capsys.readouterr().err


def test_a_dry_run_makes_no_job(server: WireServer, capsys: pytest.CaptureFixture[str]):
    refusal = {"code": "queue_full", "detail": "the queue is full"}
    answer = {"kind": "txt2img", "params": {"prompt": "a cat", "seed": 1}, "cost": {"units": 2.5}, "refusal": refusal}
    server.answer_next(lambda: JSONResponse(answer))
    assert main(["generate", "a cat", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "units    2.5\n" in out and "refusal  the queue is full (queue_full)\n" in out
    assert server.records == {} and server.requests[0][1].endswith("/v1/jobs/dry_run")


def ready(workers: str = "ok", **more: object) -> JSONResponse:
    checks = [{"name": "workers", "status": workers, "detail": None, "queues": {"diffusion": int(workers == "ok")}}]
    return JSONResponse({"status": "ready", "workers": 1, "checks": checks} | more, 200 if workers == "ok" else 503)


USAGE = {"queued": 1, "running": 2, "days": [], "limits": {}} | {
    "month": {"period": "2026-11", "jobs": 0, "units": 0, "succeeded": 0, "failed": 0, "canceled": 0}
}


def info(waiting: int = 0, workers: int = 1, version: str | None = __version__) -> JSONResponse:
    queue = {"queue": "diffusion", "waiting": waiting, "running": 0, "workers": workers, "of_a_later_version": 1}
    return JSONResponse({"version": version, "queues": [queue], "kinds": []})


def test_doctor_says_what_to_do(server: WireServer, capsys: pytest.CaptureFixture[str]):
    down = {"status": 503, "detail": "no worker is alive"}
    server.answer_next(lambda: ready("failed", **down), lambda: JSONResponse(USAGE), info)
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert "FAIL workers: failed, 0 of diffusion\n     start a worker" in out and "ok   default model: house" in out
    assert err.endswith("photogram: 1 of 7 checks failed: workers\n")


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            lambda: info(3, 0),
            "FAIL queue diffusion: 3 waiting, 0 running, 0 workers, of diffusion\n     start a worker",
        ),
        (lambda: info(3, 1), "ok   queue diffusion: 3 waiting"),
        (lambda: info(version="99.0"), "server 99.0, client 0.1.0\n     use a client of the version of the server"),
        (lambda: JSONResponse({"kinds": []}), "server unknown, client"),
    ],
)
def test_doctor_looks_at_versions_and_queues(
    server: WireServer, capsys: pytest.CaptureFixture[str], answer: Callable[[], Response], line: str
):
    server.answer_next(ready, lambda: JSONResponse(USAGE), answer)
    main(["doctor"])
    assert line in capsys.readouterr().out


def test_doctor_where_nothing_answers(capsys: pytest.CaptureFixture[str]):
    assert main(["doctor", "--url", "http://127.0.0.1:9"]) == 1
    assert "start a server with: photogram up" in capsys.readouterr().out


def test_status_as_json(server: WireServer, capsys: pytest.CaptureFixture[str]):
    models = {"models": [{"name": "house", "is_default": True}]}
    usage = {**USAGE, "queued": 0}
    server.answer_next(lambda: ready(), lambda: JSONResponse(models), lambda: JSONResponse(usage), lambda: info(2))
    assert main(["status", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["readiness"]["problem"] is None and document["running"] == 2 and document["waiting"] == []
    assert document["server"]["version"] == __version__ and document["server"]["queues"][0]["waiting"] == 2


def test_models_and_settings_without_the_server(
    server: WireServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(installed, "entry_points", lambda group: ())
    assert main(["models", "list"]) == 0 and "house, default  sd15  (default)\n" in capsys.readouterr().out
    assert main(["config", "show"]) == 0 and f"url      {server.url}\n" in capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_knows_commands_and_choices(shell: str, capsys: pytest.CaptureFixture[str]):
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "face-restore" in out and "stretch crop fill" in out and "guidance" in out


def test_a_batch_leaves_out_what_is_done(server: WireServer, somewhere: Path, capsys: pytest.CaptureFixture[str]):
    (somewhere / "rows.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b", "file": "b.jpg", "tags": ["x"]}\n')
    assert main(["batch", "rows.jsonl", "--out", "out", "--parallel", "2"]) == 0
    assert sorted(path.name for path in (somewhere / "out").iterdir()) == ["00001.png", "b.jpg", "batch.jsonl"]
    assert sorted(body.get("tags", [""])[0] for body in bodies(server)) == ["", "x"]
    capsys.readouterr()
    assert main(["batch", "rows.jsonl", "--out", "out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"rows": 2, "done_before": 2, "failed": 0}
    assert len(server.records) == 2


def test_a_batch_saves_every_kept_image(server: WireServer, somewhere: Path, capsys: pytest.CaptureFixture[str]):
    (somewhere / "rows.csv").write_text("prompt,best_of,keep,file\na,3,2,a.png\nb,,,b.png\n")
    for done_before in (0, 2):
        assert main(["batch", "rows.csv", "--parallel", "1", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["done_before"] == done_before
    lines = [json.loads(line) for line in (somewhere / "batch/batch.jsonl").read_text().splitlines()]
    assert [each["files"] for each in lines] == [["a.png", "a-2.png"], ["b.png"]]
    (somewhere / "batch/a-2.png").unlink()
    assert main(["batch", "rows.csv"]) == 0 and len(server.records) == 2
    assert (somewhere / "batch/a-2.png").read_bytes() == PNG


def test_a_batch_goes_on_after_a_row_that_failed(
    server: WireServer, somewhere: Path, capsys: pytest.CaptureFixture[str]
):
    (somewhere / "rows.csv").write_text("prompt,width\na,65\nb,64\n")
    assert main(["batch", "rows.csv"]) == 1
    assert "1 of 2 rows failed" in capsys.readouterr().err and (somewhere / "batch/00002.png").is_file()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "has no rows"),
        ("a.jsonl", "[1]\n", "line 1: not a JSON object"),
        ("a.jsonl", "{\n", "line 1"),
        ("a.csv", "prompt,file\na,../x.png\n", "row 1: '../x.png' is no name"),
        ("a.jsonl", '{"mask": 1, "mask.image": "x"}\n', "row 1: mask.image: mask is no object"),
        ("a.jsonl", "[" * 100_000 + "\n", "line 1: no JSON"),
        ("a.csv", 'prompt\na\n"b\n', "row 2: unexpected end of data"),
        ("a.csv", "prompt,seed\na,1\nb,2,3\n", "row 2: it has more cells than the header"),
        ("a.csv", "prompt,seed,seed\na,1,2\n", "several columns seed"),
        ("a.csv", "prompt,file\na,x.png\nb,X.png\n", "row 2: 'X.png' is the file of row 1"),
        ("a.csv", "prompt,keep,file\na,2,x.png\nb,,X-2.png\n", "row 2: 'X-2.png' is the file of row 1"),
        ("a.csv", f"prompt,keep,file\na,2,{'x' * 251}.png\n", "at most 255 bytes, has 257"),
        ("a.csv", 'prompt,file\na,"x\ny.png"\n', "is no name"),
        ("a.csv", f"prompt,file\na,{'x' * 300}.png\n", "at most 255 bytes, has 304"),
        ("a.csv", "prompt\n\udcff\n", "is no text in UTF-8"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": "\\ud800"}\n', "row 2: 'prompt' must be Unicode text, and has half"),
        ("a.jsonl", '{"styles": [{"a": "\\udc00"}]}\n', "row 1: 'styles' must be Unicode text"),
        ("a.csv", 'prompt,tags\na,"[""\\ud800""]"\n', "row 1: 'tags' must be Unicode text"),
        ("a.csv", "prompt,image\na,none.png\n", "row 1: there is no image 'none.png'"),
        ("a.csv", "prompt,image\na,/etc/passwd\n", "'/etc/passwd' is not in the folder of the table"),
        ("a.jsonl", '{"mask": {"image": "../../x.png"}}\n', "is not in the folder of the table"),
        ("a.jsonl", '{"controls": [{"image": "../x.png"}]}\n', "is not in the folder of the table"),
        ("a.jsonl", '{"others": ["a.jsonl", "x\\u0000"]}\n', "there is no image"),
    ],
)
def test_a_table_that_cannot_be_read(somewhere: Path, name: str, text: str, message: str):
    (somewhere / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        list(read_rows(Path(name)))


def test_a_batch_sends_the_files_beside_its_table(server: WireServer, somewhere: Path):
    (somewhere / "tables").mkdir()
    (somewhere / "tables/cat.png").write_bytes(PNG)
    large = "data:image/png;base64," + "A" * 10_000
    rows = [{"prompt": "a", "image": "cat.png"}, {"prompt": "b", "image": large},
            {"prompt": "c", "controls": [{"image": "./cat.png"}]}]  # fmt: skip
    (somewhere / "tables/rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["batch", "tables/rows.jsonl", "--out", "out", "--parallel", "1"]) == 0
    params = [body["params"] for body in bodies(server)]
    assert [each.get("image") for each in params] == [SENT, large, None] and params[2]["controls"] == [{"image": SENT}]


def test_an_image_is_opened_with_the_program_of_the_desktop(server: WireServer, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("sys.platform", "linux")
    assert main(["generate", "a cat", "-o", "ein Bild ü.png", "--open"]) == 0
    assert opened == [Path("ein Bild ü.png").resolve().as_uri()]


def test_the_images_and_the_usage_of_the_key(server: WireServer, capsys: pytest.CaptureFixture[str]):
    image = {"id": "7", "job_id": "a", "url": "http://x/images/7.png", "width": 64, "height": 48}
    image["created_at"] = "2026-11-27T19:00:00Z"
    server.answer_next(lambda: JSONResponse({"images": [image, {**image, "id": "8"}], "next": "more"}))
    assert main(["images", "--limit", "1", "--tag", "cats"]) == 0
    assert capsys.readouterr().out.startswith("image:7  64x48") and "tag=cats" in server.queries[-1]
    server.answer_next(lambda: JSONResponse({**USAGE, "limits": {"max_queued": 3}}))
    assert main(["usage"]) == 0
    assert "limits   max_queued 3\n2026-11  0 jobs, 0 units" in capsys.readouterr().out

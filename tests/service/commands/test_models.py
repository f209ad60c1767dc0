"""``photogram models``: the catalog shown, edited and checked, with the file unharmed by whatever goes wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from redis import Redis

from models.catalog.catalog import Catalog
from models.catalog.families import SDXL, STABLE_DIFFUSION
from models.diffusion.check import main as check_model
from models.diffusion.verify import main as verify_model
from models.jobs.params import DrawRequest
from models.jobs.tickets import complete
from service.backbone.keyspace import MODEL_PROBLEMS_KEY, worker_status_key
from service.backbone.ledger import Ledger
from service.backbone.running import RunningServer, announced
from service.commands.models import main
from tests.published_file import build_published_file
from tests.tiny import build_tiny_file, build_tiny_sd, build_tiny_sdxl
from tests.weight_files import LORA_FILE

pytestmark = pytest.mark.usefixtures("offline")

COMMENTED = """# My models, in the order I like them.
default = "one"  # the best

[models.one]
folder = "weights/one"  # from a friend
aliases = ["first"]

# Not so good.
[models.two]
file = "/weights/two.safetensors"
"""
LIMIT_S = 240
"""How long a command in a process of its own may take; one that imports torch took 79 s on a busy machine."""


@pytest.fixture
def catalog_path(data: Path) -> Path:
    path = data / "catalog.toml"
    path.write_text(COMMENTED)
    return path


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sd(tmp_path_factory.mktemp("tiny-models"))


def test_the_list_names_each_model_and_what_is_wrong_with_it(
    catalog_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("house: ")
    assert "one (default): CANNOT BE USED: there is no diffusers pipeline in" in shown
    assert "two: CANNOT BE USED: there is no file /weights/two.safetensors" in shown
    assert "also called: first" in shown


def test_the_list_tells_what_workers_noted(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    redis.hset(MODEL_PROBLEMS_KEY, "house", "half of it is missing")
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert main(["list"]) == 0
    assert "house (default): CANNOT BE USED: half of it is missing" in capsys.readouterr().out


def test_the_list_does_without_a_redis_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", f"unix://{tmp_path}/nobody.sock")
    assert main(["list"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("house (default): ") and "Redis is not reachable" in captured.err


def test_a_folder_is_added_with_all_that_was_said(data: Path, tiny_folder: Path) -> None:
    arguments = ["--name", "tiny", "--alias", "t", "--alias", "small", "--steps", "3", "--guidance", "1.5"]
    more = ["--sampler", "LCM", "--size", "64", "--licence", "MIT", "--dtype", "float32", "--default"]
    assert main(["add", str(tiny_folder), *arguments, *more]) == 0
    catalog = Catalog.load(data / "catalog.toml")
    tiny = catalog["tiny"]
    assert catalog.default == "tiny" and tiny.folder == tiny_folder and tiny.problem() is None
    assert (tiny.aliases, tiny.licence, tiny.dtype) == (("t", "small"), "MIT", "float32")
    chosen = tiny.defaults
    assert (chosen.num_inference_steps, chosen.guidance_scale, chosen.sampler) == (3, 1.5, "LCM")
    assert (chosen.width, chosen.height) == (64, 64)


@pytest.mark.parametrize(
    ("source", "name"),
    [("some/v1.5.safetensors", "v1.5"), ("someone/model-v1.5", "model-v1.5"), ("folder.d", "folder.d")],
)
def test_the_name_is_the_last_part_of_the_source(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, name: str
) -> None:
    build_tiny_sd(tmp_path / "folder.d")
    (tmp_path / "some").mkdir()
    build_published_file(tmp_path / "some/v1.5.safetensors")
    monkeypatch.chdir(tmp_path)
    revision = ["--revision", "abc", "--no-download"] if source.startswith("someone") else []
    assert main(["add", source, *revision]) == 0
    assert name in Catalog.load(data / "catalog.toml")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nothere.safetensors", "nothere.safetensors"),
        ("empty", "model_index.json"),
        (".", "model_index.json"),
        ("loop.safetensors", "loop.safetensors"),
        ("pipe.safetensors", "pipe.safetensors"),
    ],
)
def test_what_is_no_model_is_not_added(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], source: str,
    said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("loop.safetensors").symlink_to("loop.safetensors")
    os.mkfifo("pipe.safetensors")
    assert main(["add", source]) == 1
    assert said in capsys.readouterr().err
    assert not (data / "catalog.toml").exists()


@pytest.mark.parametrize(
    "flags", [["--name", ""], ["--name", " "], ["--name", "a\nb"], ["--alias", "x\x1b[31m"], ["--licence", "\x1b"]]
)
def test_names_fit_into_a_line(data: Path, tiny_folder: Path, flags: Sequence[str]) -> None:
    assert main(["add", str(tiny_folder), *flags]) == 1
    assert not (data / "catalog.toml").exists()


def test_comments_and_order_survive_edits(catalog_path: Path, tiny_folder: Path) -> None:
    assert main(["add", str(tiny_folder), "--name", "tiny"]) == 0
    text = catalog_path.read_text()
    for comment in ("# My models", "# the best", "# from a friend", "# Not so good."):
        assert comment in text
    assert list(Catalog.load(catalog_path)) == ["house", "one", "two", "tiny"]
    assert main(["remove", "tiny"]) == 0
    assert catalog_path.read_text().strip() == COMMENTED.strip()


def test_a_default_can_be_added_to_a_file_that_has_tables_only(data: Path, tiny_folder: Path) -> None:
    path = data / "catalog.toml"
    path.write_text('[models.one]\nfolder = "x"\n')
    assert main(["add", str(tiny_folder), "--name", "tiny", "--default"]) == 0
    assert Catalog.load(path).default == "tiny"


BAD_ADDS = {
    "name is taken": (["{tiny}", "--name", "one"], "there is a model 'one' already"),
    "name is the built-in one's": (["{tiny}", "--name", "house"], "'house' is built in: choose another name (--name)"),
    "name is an alias": (["{tiny}", "--name", "first"], "'first' is another name of the model 'one'"),
    "alias is a model": (["{tiny}", "--name", "tiny", "--alias", "two"], "alias 'two'"),
    "alias is an alias": (["{tiny}", "--name", "tiny", "--alias", "first"], "alias 'first'"),
    "sampler is unknown": (["{tiny}", "--name", "tiny", "--sampler", "eulr"], "--sampler is no known sampler: 'eulr'"),
    "size is off the grid": (["{tiny}", "--name", "tiny", "--size", "500"], "--size must be a multiple of 8"),
    "no steps": (["{tiny}", "--name", "tiny", "--steps", "0"], "--steps must be from 1 to 150"),
    "guidance is no number": (["{tiny}", "--name", "tiny", "--guidance", "nan"], "--guidance must be from 0 to 50"),
    "revision of a folder": (["{tiny}", "--name", "tiny", "--revision", "abc"], "--revision"),
    "download of a folder": (["{tiny}", "--no-download"], "--no-download is for what is downloaded, and"),
    "configuration of a folder": (["{tiny}", "--config", "x"], "--config is for checkpoints in a single file, and"),
    "configuration of a repository": (["a/b", "--config", "x"], "and a/b is a hub repository"),
    "parts of a URL": (["https://127.0.0.1/a.safetensors", "--parts", "x"], "a.safetensors is a URL"),
    "source is nothing": (["nothing"], "is not a folder, a .safetensors file, a URL or a hub repository"),
    "source is no folder": (["./not/there"], "is not a folder"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ADDS)
def test_an_add_that_fails_leaves_the_file_as_it_was(
    catalog_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    arguments, reason = BAD_ADDS[case]
    assert main(["add", *(argument.format(tiny=tiny_folder) for argument in arguments)]) == 1
    assert reason in capsys.readouterr().err
    assert catalog_path.read_text() == COMMENTED
    assert list(catalog_path.parent.iterdir()) == [catalog_path]


def test_without_a_hub_a_repository_needs_its_revision(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert main(["add", "someone/something"]) == 1
    assert "the model hub at http://127.0.0.1:9 cannot be reached" in capsys.readouterr().err
    assert not (data / "catalog.toml").exists()
    assert main(["add", "someone/something", "--revision", "abc", "--no-download"]) == 0
    assert Catalog.load(data / "catalog.toml")["something"].source == "someone/something@abc"


def test_what_is_removed_is_no_default_any_more(catalog_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remove", "one"]) == 0
    catalog = Catalog.load(catalog_path)
    assert list(catalog) == ["house", "two"] and catalog.default == "house"
    for name, reason in (("one", "there is no model 'one'"), ("house", "is built in"), ("first", "no model 'first'")):
        assert main(["remove", name]) == 1
        assert reason in capsys.readouterr().err


def test_a_lora_without_an_entry_is_removed_with_its_file(
    catalog_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = catalog_path.parent / "loras" / "film.safetensors"
    file.parent.mkdir()
    file.write_bytes(LORA_FILE)
    for options in ([], ["--table", "loras"]):
        assert main(["remove", "film", *options]) == 1
        said = f"'film' has no entry in {catalog_path}, but is found at {file}: delete or move that"
        assert said in capsys.readouterr().err
    assert catalog_path.read_text() == COMMENTED and file.is_file()


def test_a_name_that_several_tables_have_is_removed_from_the_one_that_is_named(
    catalog_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog_path.write_text(f'{COMMENTED}\n[loras.two]\nfile = "two.safetensors"\n')
    assert main(["remove", "two"]) == 1
    assert "several entries called 'two', in models, loras" in capsys.readouterr().err
    assert main(["remove", "two", "--table", "loras"]) == 0
    assert "two left the catalog (loras)" in capsys.readouterr().out
    assert "two" in Catalog.load(catalog_path) and not Catalog.load(catalog_path).loras


def test_two_who_add_at_once_do_not_overwrite_each_other(data: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda n: main(["add", f"a/b{n % 4}", "--revision", "c", "--no-download"]), range(8)))
    assert codes.count(0) == 4 and len(Catalog.load(data / "catalog.toml")) == 5


@pytest.mark.parametrize(
    "source", ["https://[::1", "https://u:secret@127.0.0.1:9/a.safetensors", "f/bad\udcff.safetensors", " "]
)
def test_sources_that_cannot_be_are_refused_in_a_line(
    data: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    assert main(["add", source]) == 1
    error = capsys.readouterr().err
    assert error.startswith("photogram models: ") and error.count("\n") == 1 and "secret" not in error


@pytest.mark.parametrize("entry", ['unknown = "two"\n{}', '{}\n[aliases]\nother = "two"\n'])
def test_what_another_entry_names_is_not_removed(
    catalog_path: Path, capsys: pytest.CaptureFixture[str], entry: str
) -> None:
    catalog_path.write_text(entry.format(COMMENTED))
    assert main(["remove", "two"]) == 1
    assert "'two', which is not in the catalog" in capsys.readouterr().err
    assert "two" in Catalog.load(catalog_path)


@pytest.mark.parametrize("command", [["list"], ["remove", "one"], ["add", "a/b", "--revision", "c"]])
@pytest.mark.parametrize("text", ["[models", "models = 3", "\ufeff= x"])
def test_a_broken_catalog_is_said_and_left_alone(
    catalog_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], text: str
) -> None:
    catalog_path.write_text(text)
    assert main(command) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("photogram models: ") and "Traceback" not in captured.err
    assert catalog_path.read_text() == text


def run(*command: str, data: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PHOTOGRAM_DATA": str(data), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def test_the_installed_command_lists_the_models(catalog_path: Path) -> None:
    listed = run(str(Path(sys.executable).with_name("photogram")), "models", "list", data=catalog_path.parent)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.startswith("house: ") and "one (default): CANNOT BE USED" in listed.stdout


def test_the_list_tells_what_memory_a_model_needs(
    data: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", str(tiny_folder), "--name", "tiny", "--size", "64"]) == 0
    assert main(["list"]) == 0
    paragraph = capsys.readouterr().out.partition("\ntiny: ")[2]
    sizes = re.search(
        r'needs about ([\d.]+) MB on a GPU for one image, ([\d.]+) MB with offload = "model", ([\d.]+) MB', paragraph
    )
    assert sizes is not None
    plain, model, sequential = map(float, sizes.groups())
    assert plain >= model >= sequential > 0


def test_verify_runs_apart_with_the_models_name(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "house", "--steps", "2"]) == 0
    captured = capfd.readouterr()
    assert "house: ok, within 1 of 255" in captured.out and captured.err == ""
    assert main(["verify", "nobody"]) == 1


def test_check_draws_with_a_good_model(data: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["add", str(tiny_folder), "--name", "tiny", "--size", "64"]) == 0
    # In this process, which has torch already: what `photogram models check` runs in one of its own.
    assert check_model([str(data / "catalog.toml"), "tiny"]) == 0
    assert "tiny: ok, loaded and drew" in capsys.readouterr().out
    assert check_model([str(data / "catalog.toml"), "nobody"]) == 1
    assert "there is no model 'nobody'" in capsys.readouterr().err


def test_check_says_why_a_broken_model_cannot_be_used(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model_index.json").write_text("{}")
    assert main(["add", str(broken)]) == 1
    assert "--family" in capfd.readouterr().err
    assert main(["add", str(broken), "--family", "sdxl"]) == 1
    assert "cannot be added: its denoiser is missing" in capfd.readouterr().err
    (data / "catalog.toml").write_text(f'[models.broken]\nfamily = "sdxl"\nfolder = "{broken}"\n')
    for command in ("check", "verify"):
        assert main([command, "broken"]) == 1
        said = capfd.readouterr().err
        assert said.startswith(f"photogram models {command}: ") and said.count("its denoiser is missing") == 1


def test_verify_names_its_flag(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data.mkdir(exist_ok=True)
    assert verify_model([str(data / "catalog.toml"), "house", "--steps", "0"]) == 1
    assert capsys.readouterr().err == "photogram models verify: --steps must be from 1 to 150\n"


@pytest.mark.parametrize(
    ("build", "family"), [(build_tiny_sd, STABLE_DIFFUSION), (partial(build_tiny_sdxl, second_width=48), SDXL)]
)
def test_a_files_family_is_told_from_it_and_drawn_with_its_config(
    data: Path, tmp_path: Path, build: Callable[..., Path], family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build(tmp_path / "folder")
    file = build_tiny_file(tmp_path / "one.safetensors", folder)
    options = ["--config", str(folder), "--size", "64", "--steps", "2"]
    assert main(["add", str(file), *options]) == 0
    one = Catalog.load(data / "catalog.toml")["one"]
    assert (one.family, one.config) == (family, folder)
    assert check_model([str(data / "catalog.toml"), "one"]) == 0, capsys.readouterr().err
    assert "one: ok" in capsys.readouterr().out


def test_what_a_file_predicts_is_told(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = build_published_file(tmp_path / "one.safetensors")
    build_tiny_sd(tmp_path / "folder")
    assert main(["add", str(file), "--prediction", "v_prediction"]) == 0
    assert Catalog.load(data / "catalog.toml")["one"].prediction == "v_prediction"
    assert main(["add", str(tmp_path / "folder"), "--prediction", "epsilon"]) == 1
    assert "--prediction is for checkpoints in a single file, and" in capsys.readouterr().err


def test_sdxl_is_added_with_its_size(tmp_path: Path) -> None:
    options = [
        "--name",
        "sdxl",
        "--family",
        "sdxl",
        "--size",
        "1024",
        "--default",
        "--revision",
        "0" * 40,
        "--no-download",
    ]
    assert main(["--data", str(tmp_path), "add", "stabilityai/stable-diffusion-xl-base-1.0", *options]) == 0
    catalog = Catalog.load(tmp_path / "catalog.toml")
    params = complete(DrawRequest(prompt="a cat"), catalog)
    assert (catalog[params.model].family, params.width, params.height) == (SDXL, 1024, 1024)


def test_a_family_that_nobody_knows_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path), "add", "owner/name", "--family", "cubism"])
    assert "stable-diffusion" in capsys.readouterr().err


@pytest.fixture
def running(data: Path, redis: Redis, redis_url: str) -> Iterator[str]:
    """The address of a server that runs with the data folder."""
    with announced(data, RunningServer(1, "http://127.0.0.1:8123", redis_url)):
        yield "http://127.0.0.1:8123"


def test_the_list_tells_what_the_running_server_knows(
    redis: Redis, running: str, data: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", str(tiny_folder), "--name", "tiny", "--licence", "MIT"]) == 0
    assert f"the server at {running} sees it at once" in capsys.readouterr().out
    ledger = Ledger(redis, 60)
    ledger.note_model_backend("house", "onnxruntime", 0.0)
    ledger.note_model_problem("tiny", "half of it is missing")
    for name, age_s in (("house", 0), ("tiny", 60)):
        status = {"loaded": [name], "has_room": True, "device": "cuda:7", "at": time.time() - age_s}
        redis.hset(worker_status_key(), f"worker of {name}", json.dumps(status))
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "house (default): ok, loaded on cuda:7\n    stable-diffusion, float32, backend onnxruntime, " in out
    assert "tiny: CANNOT BE USED: half of it is missing\n    stable-diffusion, auto, licence MIT\n" in out
    size_bytes = sum(path.stat().st_size for path in tiny_folder.rglob("*") if path.is_file())
    size = f"{size_bytes / 1e6:.1f} MB ({size_bytes} bytes)"
    assert f"    {size} in {tiny_folder}\n" in out
    assert out.endswith(f"{data}/catalog.toml: the server runs at {running}\n")


def test_without_a_server_the_folder_is_changed_and_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["add", "someone/something", "--revision", "abc", "--no-download"]) == 0
    assert f"no photogram up runs with this folder; changed {data}/catalog.toml\n" in capsys.readouterr().out
    assert main(["list"]) == 0
    assert (
        "something: not downloaded: photogram models pull something, or its first job, does that\n"
        in capsys.readouterr().out
    )
    assert main(["remove", "somethin"]) == 1
    assert "(did you mean 'something'?)" in capsys.readouterr().err
    assert main(["check", "hous"]) == 1
    assert "there is no model 'hous' (did you mean 'house'?)" in capsys.readouterr().err
    assert main(["remove", "something"]) == 0
    assert f"changed {data}/catalog.toml\n" in capsys.readouterr().out


def test_check_prints_nothing_of_libraries(data: Path) -> None:
    done = run(sys.executable, "-m", "service.commands.models", "check", "house", data=data)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("house: ok, loaded and drew") and done.stdout.count("\n") == 1

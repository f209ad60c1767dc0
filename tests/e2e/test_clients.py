"""The Python client and the command line make, follow, cancel and edit an image of a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from photogram import (
    AsyncPhotogram,
    Event,
    GeneratedImage,
    InvalidParams,
    JobFailed,
    LanguageUnavailable,
    Noted,
    NotFound,
    Photogram,
    Queued,
    RewrittenPrompt,
    StatusChanged,
)
from photogram_cli.command import main
from PIL import Image, ImageChops

from models.media import png
from tests.e2e.conftest import CATALOG, KEY, Stack
from tests.e2e.test_demo import mean_colour
from tests.models.vision.digits import digit
from tests.models.vision.rig import TINY, save, smooth_noise
from tests.polling import until

LONG = {"num_inference_steps": 900, "sampler": "DDIM"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("clients")
    eyes = save(TINY, data / "eyes")
    (data / "catalog.toml").write_text(f'{CATALOG.format(folder=tiny_folder)}[vision.eyes]\nfolder = "{eyes}"\n')
    stack = Stack(data, "--workers", "1", PHOTOGRAM_LLM="off", PHOTOGRAM_ROWS="2")
    yield stack
    stack.close()


@pytest.fixture(autouse=True)
def settings(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOGRAM_URL", stack.url)
    monkeypatch.setenv("PHOTOGRAM_API_KEY", KEY)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def seen(path: Path | str) -> tuple[str | None, tuple[int, int]]:
    """Format and size of a file."""
    with Image.open(path) as image:
        return image.format, image.size


def statuses(events: list[object]) -> list[str]:
    return [event.job.status for event in events if isinstance(event, StatusChanged)]


def test_the_blocking_client(tmp_path: Path) -> None:
    with Photogram() as client:
        job = client.submit("a cat", seed=3, num_inference_steps=4)
        events = list(job)
        assert statuses(events) == ["queued", "running", "succeeded"]
        image = job.wait().download()

        edited = client.edit("a cat in oil", image, strength=0.5, num_inference_steps=4)
        assert edited.job.kind == "img2img" and edited.job.params["image"] == image.source
        mask = Image.new("L", (64, 64), 255)
        masked = client.inpaint("a hat", image.pil(), mask, num_inference_steps=2)
        assert masked.job.kind == "inpaint"
        assert client.upscale(image, scale=2).pil().size == (128, 128)

        first, second = client.generate("a dog", n=2, seed=5, num_inference_steps=2)
        assert (first.seed, second.seed) == (5, 6) and first.data != second.data
        assert seen(first.save(tmp_path / "dog.webp"))[0] == "WEBP"

        best, other = client.generate("a dog", n=1, seed=5, best_of=4, keep=2, num_inference_steps=2)
        candidates = best.job.result.document["best_of"]
        assert [each["seed"] for each in candidates] == [5, 6, 7, 8]
        assert sum(each["image_id"] is not None for each in candidates) == 2
        top = sorted(candidates, key=lambda each: -each["score"])[:2]
        assert [(each["seed"], f"image:{each['image_id']}") for each in top] == [
            (image.seed, image.source) for image in (best, other)
        ]
        alone = client.generate("a dog", seed=other.seed, num_inference_steps=2)
        assert max(high for _, high in ImageChops.difference(alone.pil(), other.pil()).getextrema()) <= 1
        assert client.generate("a dog", seed=5, best_of=4, num_inference_steps=2).seed == best.seed
        with pytest.raises(JobFailed, match=r"the best score is .* \(score_too_low\)") as failed:
            client.generate("a dog", seed=5, best_of=4, num_inference_steps=2, min_score=1)
        assert [each["score"] for each in failed.value.job.result.document["best_of"]] == [
            each["score"] for each in candidates
        ]

        running = client.submit("a long one", best_of=3, **LONG)
        assert running.cancel().status in ("running", "canceled")
        assert running.wait(timeout_s=30).status == "canceled"
        assert {found.id for found in client.jobs.list(status="canceled")} == {running.id}
        running.delete()
        assert running.id not in {found.id for found in client.jobs.list()}


async def test_the_asyncio_client(tmp_path: Path) -> None:
    async with AsyncPhotogram() as client:
        job = await client.submit("a cat", seed=3, num_inference_steps=4)
        assert statuses([event async for event in job])[-1] == "succeeded"
        image = await job.download()
        edited = await client.edit("a cat in oil", image, strength=0.5, num_inference_steps=4)
        assert seen(await edited.save(tmp_path / "oil.jpg"))[0] == "JPEG"
        running = await client.submit("a long one", **LONG)
        await running.cancel()
        assert (await running.wait(timeout_s=30)).status == "canceled"


def test_a_job_that_waits_tells_its_place() -> None:
    with Photogram() as client:
        ahead = [client.submit("a long one", **LONG) for _ in range(8)]
        try:
            places = (event.place for event in client.jobs.watch(ahead[-1]) if isinstance(event, Queued))
            first = next(places)
            ahead[-2].cancel()
            assert first.ahead > next(places).ahead
        finally:
            for job in ahead:
                job.cancel()


def test_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        assert main([*arguments]) == 0, capsys.readouterr()
        return capsys.readouterr().out

    run("generate", "a cat", "-n", "2", "--seed", "3", "--steps", "2", "-o", "cat-{seed}.png", "--tag", "cats")
    assert sorted(path.name for path in tmp_path.glob("cat-*.png")) == ["cat-3.png", "cat-4.png"]
    edited = json.loads(
        run("edit", "oil", "cat-3.png", "--strength", "0.5", "--steps", "2", "-o", "oil.webp", "--json")
    )
    assert edited["job"]["kind"] == "img2img" and seen("oil.webp")[0] == "WEBP"
    best = run(
        "generate", "a cat", "--best-of", "3", "--keep", "2", "--seed", "5", "--steps", "2", "-o", "best-{number}.png"
    )
    assert best.count("score ") == best.count("seed ") == 2 and Path("best-2.png").is_file()
    assert len(json.loads(run("generate", "a cat", "--best-of", "2", "--keep", "2", "--steps", "2", "--json"))) == 2
    Image.new("L", (64, 64), 255).save("mask.png")
    masked = json.loads(
        run("inpaint", "hat", "cat-3.png", "mask.png", "--steps", "2", "-p", "mask.blur_px=2", "--json")
    )
    assert masked["job"]["params"]["mask"]["blur_px"] == 2
    run("upscale", "cat-3.png", "--scale", "2", "-o", "big.png")
    assert seen("big.png")[1] == (128, 128)
    assert run("jobs", "list", "--tag", "cats").count("succeeded") == 2
    assert "status   succeeded" in run("jobs", "watch", edited["job"]["id"])
    with Photogram() as client:
        running = client.submit("a long one", **LONG)
        run("jobs", "cancel", running.id)
        assert running.wait(timeout_s=30).status == "canceled"
    assert "ready" in (shown := run("status")) and "tiny (default)" in shown
    assert "FAIL" not in run("doctor")


def test_status_tells_the_version_and_what_waits(capsys: pytest.CaptureFixture[str]) -> None:
    with Photogram() as client:
        jobs = [client.submit(f"a long one {number}", **LONG) for number in range(8)]
        try:
            assert main(["status"]) == 0
            shown = capsys.readouterr().out
            assert main(["status", "--json"]) == 0
            document = json.loads(capsys.readouterr().out)
        finally:
            for job in jobs:
                job.cancel()
    assert f"version  {version('photogram-server')}\n" in shown and "1 workers, of photogram\n" in shown
    assert f"waiting  {jobs[-1].id}" in shown and " ahead" in shown
    waiting = {each["queue"]: each["waiting"] for each in document["server"]["queues"]}
    assert waiting["photogram"] >= 1 and document["waiting"][0]["id"] == jobs[-1].id


def test_a_batch_is_resumed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("prompt,seed,num_inference_steps\na cat,1,2\na dog,2,2\n")
    assert main(["batch", "rows.csv", "--out", "out"]) == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    assert sorted(first) == ["00001.png", "00002.png"]
    (tmp_path / "out/00002.png").unlink()
    assert main(["batch", "rows.csv", "--out", "out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done_before"] == 1
    assert (tmp_path / "out/00002.png").read_bytes() == first["00002.png"]


def test_arrays_and_files_are_sent_as_images() -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros((64, 64, 3), "uint8")
    array[:32] = 255
    with Photogram() as client:
        from_array: GeneratedImage = client.upscale(array, scale=1)
        file = BytesIO()
        from_array.pil().save(file, "PNG")
        file.seek(0)
        assert client.upscale(file, scale=1).pil().convert("RGB").tobytes() == array.tobytes()


def test_kinds_that_see(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        assert main([*arguments]) == 0, capsys.readouterr()
        return capsys.readouterr().out

    smooth_noise(1).save("a.png")
    smooth_noise(2).save("b.png")
    labelled = run("classify", "a.png", "--top-k", "3")
    assert "model    eyes" in labelled and labelled.count("%") == 3 and "{" not in labelled
    assert len(json.loads(run("classify", "a.png", "--json"))["result"]["document"]["labels"]) == 5
    assert "256 numbers: " in run("embed", "a.png")
    assert "file     features.npy" in run("embed", "a.png", "--output", "features")
    saved = json.loads(run("embed", "a.png", "--output", "features", "--json"))
    assert saved["saved"] == ["features-2.npy"] and saved["result"]["document"]["shape"] == [256, 5, 5]
    assert (tmp_path / "features-2.npy").read_bytes() == (tmp_path / "features.npy").read_bytes()
    likeness = run("similarity", "a.png", "--other", "a.png", "--other", "b.png")
    assert "image 1   1.000" in likeness and "image 2" in likeness
    texts = run("similarity", "a.png", "--text", "a cat", "--text", "a dog", "--model", "photogram-eyes")
    assert "text 1 " in texts and "text 2 " in texts and "image 1" not in texts
    assert '"architecture": "test_efficientnet"' in run("describe-model")
    with Photogram() as client:
        job = client.similarity(tmp_path / "a.png", others=[tmp_path / "a.png"])
        assert job.result.document["similarities"] == pytest.approx([1.0])
        with pytest.raises(NotFound):
            client.download_file(job)


def test_a_model_is_trained_from_a_folder_and_used_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for label in (0, 1):
        (tmp_path / f"digits/{label}").mkdir(parents=True)
        for seed in range(6):
            digit(label, seed).save(tmp_path / f"digits/{label}/{seed}.png")
    (tmp_path / "digits/0/.hidden").write_bytes(b"left out")
    Path("trained").mkdir()
    assert main(["finetune", "--data", "digits", "--name", "digits", "--epochs", "3", "--save-to", "trained"]) == 0
    assert '"model": "digits"' in capsys.readouterr().out
    assert b"Confusion matrix" in Path("trained/report.html").read_bytes()
    assert main(["classify", "digits/1/1.png", "--model", "digits", "--top-k", "2"]) == 0
    assert capsys.readouterr().out.count("%") == 2
    with Photogram() as client:
        uploaded = client.upload_archive(tmp_path / "digits")
        assert uploaded.files == 12
        told: list[Event] = []
        job = client.finetune(data=uploaded, epochs=2, on_event=told.append)
        notes = [event.document["event"] for event in told if isinstance(event, Noted)]
        assert notes == ["prepared", *["epoch"] * len(job.result.document["epochs"])]
        assert [file.name for file in job.result.files][-1] == "report.html"
        with pytest.raises(InvalidParams, match="already"):
            client.finetune(data=uploaded, name="digits")


def test_an_images_own_parameters_give_the_same_image_again(stack: Stack) -> None:
    with Photogram() as client:
        first = client.generate("a café in 東京", negative_prompt="rain", guidance_scale=5.5, sampler="Euler a")
        request = png.read_request(first.data)
        assert request is not None
        posted = httpx.post(f"{stack.url}/v1/jobs", json=request, headers={"Authorization": f"Bearer {KEY}"})
        assert posted.status_code == 202, posted.text
        second = client.download(client.jobs.wait(posted.json()["id"]))
    difference = ImageChops.difference(Image.open(BytesIO(first.data)), Image.open(BytesIO(second.data)))
    assert max(high for _, high in difference.getextrema()) <= 1
    written = Image.open(BytesIO(second.data)).info["parameters"]
    assert written.startswith("a café in 東京\nNegative prompt: rain\nSteps: 6")


def test_a_running_job_is_canceled_within_moments() -> None:
    with Photogram() as client:
        job = client.submit("a long one", num_inference_steps=999, sampler="DDIM", width=256, height=256)
        until(lambda: client.jobs.get(job.id).progress.step, 60)
        client.jobs.cancel(job)
        over = client.jobs.wait(job.id, timeout_s=60)
        assert over.status == "canceled" and over.progress.step < 999


def test_a_larger_image_of_the_built_in_model_is_enlarged_from_the_native_size(tmp_path: Path) -> None:
    with Photogram() as client:
        client.generate("a red apple", model="house", width=512, height=512, seed=3).save(tmp_path / "large.png")
    assert seen(tmp_path / "large.png")[1] == (512, 512)
    red, green, _ = mean_colour(tmp_path / "large.png")
    assert red > green + 60


def test_images_are_found_by_what_they_show(capsys: pytest.CaptureFixture[str]) -> None:
    with Photogram() as client:
        apple = client.generate("a red apple", model="house", seed=1, options={"tags": ["found"]})
        car = client.generate("a blue car", model="house", seed=1, options={"tags": ["found"]})
        found = client.search_images(text="an apple", tag="found")
        assert [image.job_id for image in found] == [apple.job.id, car.job.id]
        assert found[0].prompt == "a red apple" and found[0].similarity > found[1].similarity + 0.1
        assert client.search_images(like=apple, tag="found")[0].job_id == car.job.id
        assert client.search_images(image=car.data, tag="found")[0].job_id == car.job.id
        assert client.download_image(found[0]) == apple.data
    assert main(["search", "a car", "--tag", "found", "--limit", "1"]) == 0
    assert capsys.readouterr().out.endswith(f"  {car.job.id}  a blue car\n")


def test_without_a_language_model_a_prompt_stays_as_it_is() -> None:
    with Photogram() as client:
        rewritten = client.rewrite("a red apple", negative_prompt=True)
        *pieces, streamed = client.stream_rewrite("a red apple")
        job = client.generate("a red apple", enhance_prompt=True).job
        with pytest.raises(LanguageUnavailable, match="PHOTOGRAM_LLM_URL"):
            client.assist("draw me a red apple", job=job)
    assert isinstance(streamed, RewrittenPrompt)
    assert pieces == []
    for result in (rewritten, streamed):
        assert result.revised_prompt == "a red apple" and result.rewrite.status == "unavailable"
        assert result.rewrite.reason and 0 < result.tokens.count <= result.tokens.limit
    assert job.rewrite is not None and job.rewrite.status == "unavailable"
    assert job.revised_prompt is None and job.params["prompt"] == "a red apple"

"""The log of all processes in a run with failures: a line for everything, and nothing that callers wrote."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from safetensors.torch import load_file, save_file

from tests.e2e.conftest import KEY, Stack
from tests.tiny import build_tiny_lora

CANARY = "chartreuse-canary"
FORGED = "2026-01-01 up INFO forged"


def provoke(stack: Stack) -> list[str]:
    """Let jobs succeed and fail, and requests be refused, with the canary in every place; gives the job ids."""
    bearer = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=stack.url, headers=bearer, timeout=60) as client:
        prompt = {"prompt": CANARY, "negative_prompt": CANARY}
        image = f"http://nothing.invalid/{CANARY}.png?token={CANARY}"
        bodies = [
            {"kind": "txt2img", "params": prompt},
            {"kind": "img2img", "params": {**prompt, "image": image}},
        ]
        ids = [client.post("/v1/jobs", json=body).json()["id"] for body in bodies]
        for job_id in ids:
            while client.get(f"/v1/jobs/{job_id}?wait=30").json()["status"] in ("queued", "running"):
                pass
        client.post("/sdapi/v1/txt2img", json={**prompt, "sampler_name": CANARY})
        client.post("/v1/images/generations", json={"model": CANARY, "prompt": CANARY})
        client.post("/v2/job", json={"type": CANARY, "config": {"prompt": CANARY}})
        client.post("/v1/jobs", content=f'{{"{CANARY}'.encode(), headers={"Content-Type": "application/json"})
        client.get(f"/{CANARY}?{CANARY}")
        client.get(f"/v1/jobs/{CANARY}%0a{FORGED}")
        client.get("/v1/models", headers={"Authorization": f"Bearer wrong-{CANARY}"})
        client.get("/v1/models", headers={"X-Request-ID": f"{CANARY}\t{FORGED}"})
    return ids


def log_of(stack: Stack, data: Path) -> str:
    assert stack.stop() == 0
    stack._listener.join()
    valkey = data / "valkey" / "valkey.log"
    return "".join(stack.errors) + (valkey.read_text() if valkey.exists() else "")


def test_everything_has_a_line_and_no_line_has_a_prompt_or_a_key(data_with_tiny: Path, stacks: list[Stack]) -> None:
    stacks.append(stack := Stack(data_with_tiny, PHOTOGRAM_LOG_FORMAT="json", PHOTOGRAM_LOG_LEVEL="DEBUG"))
    succeeded, failed = provoke(stack)
    log = log_of(stack, data_with_tiny)
    assert CANARY not in log and KEY not in log and FORGED not in log
    entries = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    jobs = {entry["id"]: entry for entry in entries if entry["message"] == "job"}
    assert (jobs[succeeded]["outcome"], jobs[succeeded]["size"]) == ("succeeded", "64x64")
    assert jobs[succeeded]["denoise_s"] > 0 and jobs[succeeded]["process"] == "worker"
    assert (jobs[failed]["outcome"], jobs[failed]["code"]) == ("failed", "input_unavailable")
    refusals = [(entry["route"], entry["status"]) for entry in entries if entry["message"] == "refused"]
    assert {
        ("/sdapi/v1/txt2img", 400), ("/v1/images/generations", 404), ("/v2/job", 400), ("/v1/jobs", 422), ("-", 404),
        ("/v1/jobs/{job_id}", 404), ("/v1/models", 401),
    } <= {(route, status) for route, status in refusals}  # fmt: skip
    assert all(("key" in entry) != ("address" in entry) for entry in entries if entry["message"] == "refused")


def test_no_line_is_that_of_a_library(data_with_tiny: Path, stacks: list[Stack], tiny_folder: Path) -> None:
    """Also where a library fails: a LoRA with layers of other widths than the model."""
    (data_with_tiny / "loras").mkdir()
    lora = build_tiny_lora(data_with_tiny / "loras" / "film.safetensors", tiny_folder)
    save_file({name: each.repeat(1, 1 + ("lora_A" in name)) for name, each in load_file(lora).items()}, lora)
    stacks.append(stack := Stack(data_with_tiny, PHOTOGRAM_LOG_FORMAT="json"))
    with stack.client() as client:
        jobs = [client.submit(prompt) for prompt in ("a cat", "a cat <lora:film:1>")]
        first, second = [client.jobs.wait(job.id, timeout_s=120) for job in jobs]
    assert first.status == "succeeded" and second.error is not None
    assert "LoRA 'film' is made for another model: its tensor " in second.error.message
    assert "photogram_" not in second.error.message and "torch" not in second.error.message
    log_of(stack, data_with_tiny)
    plain = [line for line in stack.errors if not line.startswith(("{", "photogram up: ", "    "))]
    assert [line.rstrip() for line in plain] == ["settings that are no defaults:", "in a second terminal:"]


def test_prompts_are_logged_if_asked_for(data_with_tiny: Path, stacks: list[Stack]) -> None:
    stacks.append(stack := Stack(data_with_tiny, PHOTOGRAM_LOG_PROMPTS="1"))
    provoke(stack)
    log = log_of(stack, data_with_tiny)
    assert f"prompt={CANARY}" in log and KEY not in log
    assert not any(line.startswith(FORGED) for line in log.splitlines())

"""What an image carries, as both clients and the command line tell it."""

import json
from pathlib import Path

import pytest
from fastapi.responses import JSONResponse, Response
from photogram import Action, InvalidParams, Manifest, Provenance, Watermark
from photogram_cli.command import main

from .conftest import Either
from .wire_server import PNG, WireServer, problem

ACTION = {"action": "c2pa.created", "digital_source_type": "trainedAlgorithmicMedia", "description": "txt2img"}
MANIFEST = {
    "state": "untrusted", "is_ours": False, "issuer": "Photogram", "common_name": "Photogram server",
    "claim_generator": "Photogram 0.1.0", "actions": [ACTION], "ingredients": ["image:1"],
    "problems": ["signingCredential.untrusted"], "of_a_later_version": 1,
}  # fmt: skip
PAYLOAD = {
    "media_type": "image/png", "digital_source_type": "trainedAlgorithmicMedia", "c2pa": MANIFEST,
    "watermark": {"id": "0badcafe", "confidence": 0.953}, "parameters": "a cat\nSteps: 4", "of_a_later_version": 1,
}  # fmt: skip
FOUND = Provenance(
    "image/png", "trainedAlgorithmicMedia",
    Manifest("untrusted", False, "Photogram", "Photogram server", "Photogram 0.1.0",
             (Action("c2pa.created", "trainedAlgorithmicMedia", "txt2img"),), ("image:1",),
             ("signingCredential.untrusted",)),
    Watermark("0badcafe", 0.953), "a cat\nSteps: 4",
)  # fmt: skip
NOTHING = {"media_type": "image/png", "digital_source_type": None, "c2pa": None, "watermark": None, "parameters": ""}


def told(payload: object = PAYLOAD) -> Response:
    return JSONResponse(payload)


async def test_both_clients_tell_what_an_image_carries(client: Either, server: WireServer, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(PNG)
    for image in (PNG, tmp_path / "a.png", "image:1"):
        server.answers.append(told)
        assert await client.verify_provenance(image) == FOUND
    sent = [(method, path, headers["content-type"]) for method, path, headers in server.requests]
    file = ("POST", "/v1/provenance/verify", "application/octet-stream")
    assert sent == [file, file, (*file[:2], "application/json")]

    server.answers.append(lambda: told(NOTHING))
    assert await client.verify_provenance(PNG) == Provenance("image/png", None, None, None, "")


async def test_what_is_no_image_is_refused(client: Either, server: WireServer):
    errors = [{"field": "body", "message": "this is no image", "code": "malformed"}]
    server.answers.append(lambda: problem(422, "invalid_params", "body: this is no image", errors=errors))
    with pytest.raises(InvalidParams):
        await client.verify_provenance(b"text")


def test_the_command_line(
    server: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(PNG)
    server.answers.append(told)
    assert main(["provenance", "verify", "a.png"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "iptc     trainedAlgorithmicMedia",
        "c2pa     untrusted",
        "signer   Photogram server, Photogram",
        "program  Photogram 0.1.0",
        "action   c2pa.created trainedAlgorithmicMedia txt2img",
        "from     image:1",
        "problem  signingCredential.untrusted",
        "mark     0badcafe (confidence 0.95)",
        "params   a cat",
        "params   Steps: 4",
    ]
    server.answers.append(lambda: told(NOTHING))
    assert main(["provenance", "verify", "--json", "a.png"]) == 0
    assert json.loads(capsys.readouterr().out) == NOTHING
    server.answers.append(lambda: told(NOTHING))
    assert main(["provenance", "verify", "a.png"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{name:8} none" for name in ("iptc", "c2pa", "mark", "params")]
    assert main(["provenance", "verify", "missing.png"]) == 1

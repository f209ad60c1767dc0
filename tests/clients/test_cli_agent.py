"""The command `photogram agent`: what it tells, asks and takes as an answer, and how it says what became of the job."""

import io
from pathlib import Path

import pytest
from fastapi.responses import JSONResponse
from photogram_cli.command import main

from .wire_server import WireServer

QUESTION = {"id": "2/call-1", "question": "What should be \x1b[31mbetter?", "choices": ["Good", "Make it red"]}
COMPLETE = {"complete": True, "ended_early": None, "failed": [], "images": ["a/dog.png"], "used": {"steps": 4}}


class Typed(io.StringIO):
    """Standard input of a terminal at which somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "told"), [("2\n", "Make it red"), ("3\n", "3"), (" with a hat \n", "with a hat"), ("0\n", "0")]
)
def test_an_answer_is_a_text_or_the_number_of_a_choice(
    server: WireServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, told: str
):
    server.question, server.document = QUESTION, COMPLETE
    monkeypatch.setattr("sys.stdin", Typed(typed))
    assert main(["agent", "draw a dog"]) == 0
    assert server.told == [{"text": told, "question": QUESTION["id"]}]
    err = capsys.readouterr().err
    assert (
        "question: What should be \\u001b[31mbetter?\n  1  Good\n  2  Make it red\n" in err and f"told: {told}" in err
    )


def test_who_cannot_be_asked_is_told_how_to_answer(
    server: WireServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    server.question = QUESTION
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr(server, "outcome", "failed")

    async def ended(*_: object) -> None: ...

    monkeypatch.setattr(server, "_until", ended)  # nobody answers
    assert main(["agent", "draw a dog"]) == 1
    (job_id,) = server.records
    assert f"photogram jobs tell {job_id} " in capsys.readouterr().err and server.told == []


@pytest.mark.parametrize(
    ("document", "line"),
    [
        (COMPLETE, "complete yes\nused     4 steps\n"),
        (
            COMPLETE | {"complete": False, "failed": ["In white: t-shirt"], "used": {"steps": 9, "cost_units": 1.31}},
            "complete no; In white: t-shirt did not pass its checks\nused     9 steps, 1.31 cost units\n",
        ),
        (
            COMPLETE | {"complete": False, "ended_early": "all images of its budget are drawn"},
            "complete no; all images of its budget are drawn\n",
        ),
    ],
)
def test_it_says_whether_all_was_done_and_why_not(
    server: WireServer, capsys: pytest.CaptureFixture[str], document: dict[str, object], line: str
):
    server.document = document
    assert main(["agent", "draw a dog", "--save-to", "."]) == 0
    out = capsys.readouterr().out
    assert line in out and "brief    draw a dog\n" in out and Path("dog.png").is_file()


def test_lists_show_the_brief(server: WireServer, capsys: pytest.CaptureFixture[str]):
    server.document = COMPLETE
    assert main(["agent", "draw a dog", "--json"]) == 0
    capsys.readouterr()
    (record,) = server.records.values()
    server.answers.append(lambda: JSONResponse({"jobs": [record.job], "next": None}))
    assert main(["jobs", "list"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("agent  draw a dog")

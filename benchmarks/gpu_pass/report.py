"""The results of one stage: one JSON and one Markdown file, rewritten after every entry."""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PASS, FAIL, FIGURE = "pass", "fail", "figure"
ERROR, TIMEOUT, CRASH, SKIPPED, RUNNING = "error", "timeout", "crash", "skipped", "running"
"""In this order: it raised an exception, exceeded its time, ended the process, found no time left, is running."""
PACKAGES = ("diffusers", "transformers", "huggingface_hub", "accelerate", "triton", "torchsde", "numpy")
SAME = ("device", "rehearsal", "commit", "torch")
"""What of the environment must be the same when results are continued: they are published under one heading."""


class CannotReport(Exception):
    """The folder of the results cannot be used; the message says why."""


@dataclass
class Outcome:
    """The result of one check."""

    passed: bool | None
    """``None`` if the figures have no bound."""
    figures: dict[str, Any] = field(default_factory=dict)
    detail: str = ""


@dataclass
class Entry:
    """One check or measurement in the report."""

    name: str
    status: str
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    detail: str = ""


@dataclass
class Report:
    """The entries of one stage in one folder."""

    stage: str
    folder: Path
    environment: dict[str, Any]
    spent_s: float = 0.0
    """The time that earlier processes of a resumed stage took."""
    entries: list[Entry] = field(default_factory=list)
    _began_at: float = field(default_factory=time.monotonic)
    _lock: int | None = None
    """A descriptor, held for as long as the process lives, so that no other one writes to the same files."""

    @classmethod
    def open(cls, stage: str, folder: Path, environment: dict[str, Any], *, resume: bool) -> Report:
        """An empty report, or with ``resume`` the one in ``folder``.

        A check that was running when its process ended is marked as crashed and not run again; those for which no time
        was left are run.

        Raises:
            CannotReport: the folder cannot be written, another process writes to it, or what is to be continued is
                damaged or of another device, commit or version of torch.
        """
        report = cls(stage, folder, environment)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            report._lock = _locked(folder / f"{stage}.lock")
            found = report.json_path.read_text(encoding="utf-8") if resume and report.json_path.exists() else None
        except OSError as error:
            raise CannotReport(f"the results cannot be kept in {folder}: {error}") from error
        if found is not None:
            try:
                report._continue(found)
            except CannotReport:
                report.close()
                raise
        for entry in report.entries:
            if entry.status == RUNNING:
                entry.status, entry.detail = CRASH, "the process ended during this check"
        return report

    def _continue(self, text: str) -> None:
        try:
            found = json.loads(text)
            was, self.spent_s = found["environment"], float(found["seconds"])
            entries = [Entry(**entry) for entry in found["entries"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CannotReport(f"{self.json_path} is damaged; remove it or choose another folder") from error
        other = [name for name in SAME if was.get(name) != self.environment.get(name)]
        if other:
            facts = ", ".join(f"{name} {was.get(name)}, now {self.environment.get(name)}" for name in other)
            raise CannotReport(f"the results in {self.folder} are of another run ({facts}); choose another folder")
        self.entries = [entry for entry in entries if entry.status != SKIPPED]

    def close(self) -> None:
        """Let other processes write to the folder; the end of this one does so too."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def json_path(self) -> Path:
        """The path of the JSON file."""
        return self.folder / f"{self.stage}.json"

    @property
    def age_s(self) -> float:
        """The time that the stage has taken so far, including earlier processes."""
        return self.spent_s + time.monotonic() - self._began_at

    def has(self, name: str) -> bool:
        """Whether there is an entry of that name."""
        return any(entry.name == name for entry in self.entries)

    def begin(self, name: str) -> Entry:
        """Add an entry for a check that starts now."""
        entry = Entry(name, RUNNING)
        self.entries.append(entry)
        self.write()
        return entry

    def write(self) -> None:
        """Write both files."""
        content = {
            "stage": self.stage, "seconds": self.age_s, "environment": self.environment, "counts": self.counts(),
            "entries": [asdict(each) for each in self.entries],
        }  # fmt: skip
        _replace(self.json_path, json.dumps(plain(content), indent=1, allow_nan=False))
        _replace(self.folder / f"{self.stage}.md", self.markdown())

    def counts(self) -> dict[str, int]:
        """The number of entries by status."""
        statuses = [entry.status for entry in self.entries]
        return {status: statuses.count(status) for status in dict.fromkeys(statuses)}

    def markdown(self) -> str:
        """The table of all entries."""
        facts = ", ".join(f"{name}: {value}" for name, value in self.environment.items())
        lines = [f"# GPU pass: {self.stage}", "", facts, "", "| check | result | figures | s |", "|---|---|---|---|"]
        lines += [_line(entry) for entry in self.entries]
        return "\n".join(lines) + "\n"


def _line(entry: Entry) -> str:
    short = {name: value for name, value in entry.figures.items() if not isinstance(value, Mapping | list)}
    figures = ", ".join(f"{name} {_short(value)}" for name, value in short.items())
    detail = entry.detail.replace("|", "/").replace("\n", " ")[:300]
    return f"| {entry.name} | {entry.status} | {'; '.join(filter(None, (figures, detail)))} | {entry.seconds:.1f} |"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plain(value: Any) -> Any:
    """Convert ``value`` to JSON types; numbers that are not finite become strings."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _locked(path: Path) -> int:
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        raise CannotReport(f"another process writes its results to {path.parent}; choose another folder") from error
    return file


def _replace(path: Path, text: str) -> None:
    """Write a file atomically."""
    draft = path.with_suffix(path.suffix + ".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def environment(device: torch.device, *, rehearse: bool) -> dict[str, Any]:
    """Device, versions and commit; ``PHOTOGRAM_COMMIT`` gives the commit."""
    facts: dict[str, Any] = {
        "device": "CPU", "rehearsal": rehearse, "commit": os.environ.get("PHOTOGRAM_COMMIT") or "unknown",
        "python": platform.python_version(), "torch": torch.__version__, "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(), "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "device": properties.name, "memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
        }  # fmt: skip
    return facts | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"

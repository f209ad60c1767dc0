"""What one message of the bot shows: one to four images of the same parameters, each of which is a job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from discord.utils import DEFAULT_FILE_SIZE_LIMIT_BYTES


@dataclass(frozen=True, slots=True)
class Drawing:
    """The jobs of one message and where the message is; ids of Discord are its snowflakes."""

    id: str
    """The beginning of the ids of its jobs: unique for each interaction."""
    kind: str
    params: dict[str, Any] = field(hash=False)
    """The parameters of the request, with images as sources that the server knows."""
    count: int
    owner: int
    channel: int
    message: int
    guild: int | None = None
    is_hidden: bool = False
    """Whether only the owner sees the message, as where members may not use apps of their own account openly."""
    is_canceled: bool = False
    max_file_bytes: int = DEFAULT_FILE_SIZE_LIMIT_BYTES
    """The largest file that Discord takes in the channel."""

    @property
    def job_ids(self) -> tuple[str, ...]:
        return tuple(f"{self.id}-{number}" for number in range(self.count))

    @property
    def prompt(self) -> str:
        """What was asked for, in words."""
        return prompt_of(self.params)

    def job_params(self, number: int) -> dict[str, Any]:
        """The parameters of job `number`: each further image has the next seed, or a random one if none is given."""
        seed = self.params.get("seed")
        return self.params if seed is None or seed < 0 else {**self.params, "seed": seed + number}

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Drawing:
        return cls(**json.loads(text))


def prompt_of(params: Mapping[str, Any]) -> str:
    """The prompt in the parameters of a job, or the brief of an agent."""
    return str(params.get("prompt") or params.get("brief") or "")


def drawing_id_of(job_id: str) -> str:
    """The id of the drawing that a job belongs to."""
    return job_id.rpartition("-")[0]

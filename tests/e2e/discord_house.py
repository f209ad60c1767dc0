"""The server of the Discord bot in whole tests, and what people wait for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image

from models.catalog.catalog import HOUSE_FOLDER
from tests.discord_standin import Person
from tests.discord_standin.people import gallery_of, labels_of, text_of
from tests.discord_standin.state import Interaction, Payload
from tests.e2e.conftest import Stack
from tests.engine_stub import EngineStub
from tests.tiny import build_tiny_lora

PATIENCE_S = 120.0
FEW = 4
"""Steps of images that nobody looks at."""


@contextmanager
def serving_house(data: Path, engine: EngineStub) -> Iterator[Stack]:
    """A server with the built-in checkpoint, a LoRA for it, and a language model that calls tools."""
    (data / "loras").mkdir()
    build_tiny_lora(data / "loras" / "film.safetensors", HOUSE_FOLDER)
    stack = Stack(data, PHOTOGRAM_LLM="auto", PHOTOGRAM_LLM_URL=engine.url, PHOTOGRAM_LLM_PRESET="qwen2.5-7b-instruct")
    try:
        yield stack
    finally:
        stack.close()


async def result_of(person: Person, interaction: Interaction) -> tuple[Payload, bytes]:
    """The message with the images of `interaction`, and the file of the first one."""
    message = await person.sees(
        interaction, lambda found: "Delete" in labels_of(found) or is_refusal(found), PATIENCE_S
    )
    assert gallery_of(message), text_of(message)
    return message, person.discord.world.files[message["attachments"][0]["id"]]


async def sees_text(person: Person, interaction: Interaction, text: str) -> Payload:
    return await person.sees(interaction, lambda found: text in text_of(found), PATIENCE_S)


def is_refusal(message: Payload) -> bool:
    return bool(text_of(message)) and not labels_of(message)


def photo(width: int = 96, height: int = 64) -> bytes:
    return png_of(Image.linear_gradient("L").resize((width, height)).convert("RGB"))


def png_of(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()

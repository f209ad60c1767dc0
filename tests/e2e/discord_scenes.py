"""The transcripts and the screenshot in docs/discord.md: what people do with the bot, and what comes back.

``python -m tests.e2e.discord_scenes`` plays the scenes with a whole server and writes both anew; the screenshot needs
Chromium. The tests play the same scenes and compare the transcripts.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageChops

from tests.clients.discord.conftest import BotRig
from tests.discord_standin import Attached, DiscordStandIn
from tests.discord_standin.people import gallery_of, labels_of, text_of
from tests.discord_standin.state import Interaction, Payload
from tests.discord_standin.transcript import Transcript
from tests.e2e.conftest import KEY, ROOT
from tests.e2e.discord_house import FEW, PATIENCE_S, is_refusal, photo, png_of, result_of, serving_house
from tests.engine_stub import EngineStub, Say

PAGE, SCREENSHOT = ROOT / "docs" / "discord.md", ROOT / "docs" / "discord.png"
_SECTION = re.compile(r"(?<=\n## Transcripts\n\n).*?(?=\n\n## )", re.DOTALL)
_INTRODUCTION = """\
`python -m tests.e2e.discord_scenes` made these with `photogram up`, the bot and the stand-in of Discord, and
`tests/e2e/test_discord.py` compares them with what happens now. `[Reroll]` is a button, `[image: ...]` an image and its
alternative text, and `…` stands for numbers that differ each time."""
_FENCE = "<!-- not executed: tests/e2e/test_discord.py plays it -->\n```text\n{}\n```"
_VARYING = (
    (r"[▰▱]{10} \d+%", "▰▰▰▱▱▱▱▱▱▱ …%"),
    (r"about \d+ (s|min) left", "about … s left"),
    (r"seed \d{3,}", "seed …"),
)
SHOT_PX = (660, 4000)


class Stage:
    """The people of the scenes, and the transcript that they act through."""

    def __init__(self, discord: DiscordStandIn, rig: BotRig, engine: EngineStub) -> None:
        self.discord, self.rig, self.engine = discord, rig, engine
        self.ada, self.bob = discord.person("ada"), discord.person("bob")
        self.manager = discord.person("mia", is_manager=True)
        self.script = Transcript(discord.world)

    async def result(self, interaction: Interaction) -> Payload:
        """The message with the images, which the transcript shows."""
        message, _ = await result_of(self.ada, interaction)
        self.script.shows(message)
        return message

    async def answer(self, interaction: Interaction) -> Payload:
        """The message without images, which the transcript shows."""
        message = await self.ada.sees(interaction, is_answer, PATIENCE_S)
        self.script.shows(message)
        return message

    async def question(self, interaction: Interaction, after: bytes = b"") -> tuple[Payload, bytes]:
        """The message while an agent asks about another image than ``after``, and that image."""

        def image(found: Payload) -> bytes:
            return self.discord.world.files[found["attachments"][0]["id"]]

        message = await self.ada.sees(
            interaction,
            lambda found: "Answer" in labels_of(found) and bool(gallery_of(found)) and image(found) != after,
            PATIENCE_S,
        )
        self.script.shows(message)
        return copy.deepcopy(message), image(message)


def is_answer(message: Payload) -> bool:
    return is_refusal(message) or "Reroll" in labels_of(message)


async def images(stage: Stage) -> None:
    play, ada = stage.script, stage.ada
    await play.type(ada, "imagine", "model", "ho")
    apple = await stage.result(await play.slash(ada, "imagine", prompt="a red apple", size="3:2", steps=FEW, seed=4))
    await stage.result(await play.press(ada, apple, "Vary strong"))
    await stage.result(await play.press(ada, apple, "Upscale"))
    form = await play.press(ada, apple, "Edit prompt")
    await stage.result(await play.fill_in(ada, form, "a green apple"))
    boats = await stage.result(await play.slash(ada, "imagine", prompt="a boat", steps=FEW, seed=7, count=2))
    await stage.result(await play.choose(ada, boats, "Vary subtle image 2"))


async def other_ways(stage: Stage) -> None:
    play, ada = stage.script, stage.ada
    given, mask = Attached(photo(), "photo.png"), Attached(png_of(Image.new("L", (96, 64), 255)), "mask.png")
    await stage.result(await play.slash(ada, "edit", image=given, prompt="a hill", seed=1))
    await stage.result(await play.slash(ada, "edit", image=given, prompt="a hill", mask=mask, seed=1))
    await stage.result(await play.slash(ada, "upscale", image=given, scale=3.0))
    words = {"prompt": "a red apple", "aspect_ratio": "3:2", "num_inference_steps": FEW}
    stage.engine.answer_with(Say(calls=(("create_image", json.dumps(words)),)))
    await stage.result(await play.slash(ada, "assist", request="Ein roter Apfel im Querformat, bitte"))


async def messages(stage: Stage) -> None:
    play, ada, bob = stage.script, stage.ada, stage.bob
    message = await stage.result(await play.slash(ada, "imagine", prompt="a lighthouse", steps=FEW, seed=3))
    await stage.answer(await play.menu(bob, "Info", message))
    await stage.result(await play.menu(bob, "Upscale", message))
    form = await play.menu(bob, "Use as input", message)
    await stage.result(await play.fill_in(bob, form, "a tower"))
    await stage.answer(await play.slash(bob, "info", image=Attached(photo(), "photo.png")))


async def briefs(stage: Stage) -> None:
    play, ada = stage.script, stage.ada
    asked = await play.slash(ada, "agent", brief="draw a dog, then make it better with two rounds of feedback", seed=7)
    first, image = await stage.question(asked)
    form = await play.press(ada, first, "Answer")
    await play.fill_in(ada, form, "on a pink background")
    second, _ = await stage.question(asked, after=image)
    await play.choose(ada, second, "Make it blue")
    await stage.result(asked)


async def waiting(stage: Stage) -> None:
    play, ada = stage.script, stage.ada
    asked = await play.slash(ada, "imagine", prompt="a sailing boat", steps=150)
    running = await ada.sees(asked, lambda found: bool(gallery_of(found)) and "left" in text_of(found), PATIENCE_S)
    play.shows(running)
    await stage.answer(await play.slash(ada, "queue"))
    await stage.answer(await play.press(stage.bob, running, "Cancel"))
    await play.press(ada, running, "Cancel")
    play.shows(await ada.sees(asked, lambda found: "Canceled" in text_of(found), PATIENCE_S))


async def after_a_restart(stage: Stage) -> None:
    play, ada = stage.script, stage.ada
    asked = await play.slash(ada, "imagine", prompt="a mill", steps=FEW, seed=5)
    await stage.result(asked)
    await stage.rig.stop()
    stage.discord.pass_time()
    await stage.rig.start()
    play.note("The bot is started anew, and 16 minutes pass.")
    message, _ = await result_of(ada, asked)  # shown again if the bot stopped before it had noted that it was
    await stage.result(await play.press(stage.bob, message, "Reroll"))
    await play.press(ada, message, "Delete")
    await stage.discord.until(lambda: int(message["id"]) not in stage.discord.world.messages)
    play.note("The message of ada's mill is gone.")


async def settings(stage: Stage) -> None:
    play, ada, mia = stage.script, stage.ada, stage.manager
    await stage.answer(await play.slash(ada, "settings mine", size="3:2", steps=FEW))
    await stage.answer(await play.slash(ada, "settings limits", count=4))
    await stage.answer(await play.slash(mia, "settings limits", daily=50, count=2))
    await stage.answer(await play.slash(mia, "settings limits", count=4, role=stage.discord.world.role))
    await stage.answer(await play.slash(mia, "settings adult", words="blood, gore"))
    form = await play.slash(mia, "settings key")
    await stage.answer(await play.fill_in(mia, form, "a-key-that-nobody-knows"))
    await stage.answer(await play.slash(ada, "settings show"))
    await stage.answer(await play.slash(ada, "imagine", prompt="a cat", count=3))
    await stage.answer(await play.slash(ada, "imagine", prompt="a duel with blood"))
    await stage.answer(await play.slash(ada, "imagine", prompt="a cat", model="no-such-model"))
    await stage.answer(await play.slash(ada, "edit", prompt="a cat", image=Attached(b"hi", "notes.txt", "text/plain")))


Scene: TypeAlias = Callable[[Stage], Awaitable[None]]
SCENES: dict[str, Scene] = {
    "Images, and their buttons": images,
    "Images from images and words": other_ways,
    "The menus of messages": messages,
    "A brief, and its questions": briefs,
    "What waits": waiting,
    "After a restart": after_a_restart,
    "Settings and refusals": settings,
}


async def transcripts(discord: DiscordStandIn, rig: BotRig, engine: EngineStub) -> str:
    """Play all scenes, each with new people; returns the section of the page."""
    shown = [_INTRODUCTION]
    for title, scene in SCENES.items():
        stage = Stage(discord, rig, engine)
        await scene(stage)
        lines = "\n".join(stage.script.lines)
        for pattern, masked in _VARYING:
            lines = re.sub(pattern, masked, lines)
        shown.append(f"### {title}\n\n{_FENCE.format(lines)}")
    return "\n\n".join(shown)


def transcripts_of(page: Path) -> str:
    """The section that the page has now."""
    found = _SECTION.search(page.read_text(encoding="utf-8"))
    assert found is not None, f"{page} has no section of transcripts"
    return found[0]


async def take_screenshot(discord: DiscordStandIn, chromium: str = "chromium") -> None:
    """Fill a channel with two results, what /info says, and a job that runs, and take a screenshot of it."""
    channel = discord.world.add_channel("screenshot")
    ada, bob, cy = (discord.person(name, channel) for name in ("ada", "bob", "cy"))
    message, _ = await result_of(ada, await ada.slash("imagine", prompt="a red apple", seed=4))
    await result_of(bob, await bob.slash("imagine", prompt="a lighthouse", seed=7, count=2))
    await ada.sees(await ada.menu("Info", message), lambda found: "Marks in the file" in text_of(found))
    running = await cy.slash("imagine", prompt="a sailing boat", steps=150)
    await cy.sees(running, lambda found: bool(gallery_of(found)) and "left" in text_of(found), PATIENCE_S)
    size = ",".join(map(str, SHOT_PX))
    command = [chromium, "--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={size}",
               f"--screenshot={SCREENSHOT}", f"{discord.url}/channels/{channel}"]  # fmt: skip
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    with Image.open(SCREENSHOT) as shot:
        empty = Image.new(shot.mode, shot.size, shot.getpixel((0, shot.height - 1)))
        _, _, _, bottom = ImageChops.difference(shot.convert("RGB"), empty.convert("RGB")).getbbox()
        cropped = shot.crop((0, 0, shot.width, bottom + 16)).quantize(256)
    cropped.save(SCREENSHOT, optimize=True)


async def _write(folder: Path) -> None:
    with EngineStub() as engine, serving_house(folder, engine) as house:
        async with DiscordStandIn() as discord:
            rig = BotRig(discord, house.url, folder / "bot", KEY)
            await rig.start()
            try:
                section = await transcripts(discord, rig, engine)
                await take_screenshot(discord)
            finally:
                await rig.stop()
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_SECTION.sub(lambda _: section, page), encoding="utf-8")


def main() -> int:
    """Write the section and the screenshot anew; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_write(Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The Discord bot with a whole ``photogram up``, and the stand-in of Discord."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path

from photogram_discord import Config, PhotogramBot
from PIL import Image

from models.media import png
from tests.discord_standin import DiscordStandIn
from tests.discord_standin.people import gallery_of, labels_of, text_of
from tests.e2e.conftest import KEY, Stack


async def test_people_make_vary_edit_and_enlarge_images(
    data_with_tiny: Path, tmp_path: Path, stacks: list[Stack]
) -> None:
    stacks.append(stack := await asyncio.to_thread(Stack, data_with_tiny))
    async with DiscordStandIn() as discord:
        bot = PhotogramBot(Config(token=discord.token, url=stack.url, api_key=KEY, data=tmp_path / "bot"))
        running = asyncio.create_task(bot.start(discord.token))
        await discord.until(lambda: running.done() or discord.gateway.ready.is_set())
        ada = discord.person("ada")

        async def result_of(interaction):
            message = await ada.sees(interaction, lambda found: "Delete" in labels_of(found), 60)
            assert gallery_of(message), text_of(message)
            return message, discord.world.files[message["attachments"][0]["id"]]

        made, first = await result_of(await ada.slash("imagine", prompt="a lighthouse", seed=3, count=2))
        assert len(gallery_of(made)) == 2 and png.read_request(first)["params"]["seed"] == 3
        single, _ = await result_of(await ada.slash("imagine", prompt="a lighthouse", seed=3, style="anime"))
        _, varied = await result_of(await ada.press(single, "Vary subtle"))
        assert png.read_request(varied)["params"]["variation"]["strength"] == 0.1
        enlarged, larger = await result_of(await ada.press(single, "Upscale"))
        assert Image.open(BytesIO(larger)).size == (128, 128)
        await result_of(await ada.press(single, "Reroll"))
        await result_of(await ada.slash("edit", image=first, prompt="a tower", strength=0.5))
        await result_of(await ada.slash("edit", image=first, prompt="a tower", mask=first))
        await result_of(await ada.menu("Upscale", enlarged))
        info = await ada.menu("Info", made)
        await ada.sees(info, lambda message: "a lighthouse" in text_of(message))
        assert "Euler" in await ada.suggestions("imagine", "sampler", "eul")
        refused = await ada.slash("imagine", prompt="a lighthouse", model="no-such-model")
        await ada.sees(refused, lambda message: "no-such-model" in text_of(message))
        await bot.close()
        await running

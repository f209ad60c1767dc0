"""Attachments that are no images, too large, or made to harm, and what messages link to."""

from __future__ import annotations

import zlib

import pytest
from photogram_discord import PhotogramBot, files, image_info
from photogram_discord.errors import Refused

from tests.clients.discord.test_drawing import finished, says
from tests.clients.discord.test_settings import chunk
from tests.clients.wire_server import PNG, WireServer, problem
from tests.discord_standin import Attached, DiscordStandIn
from tests.discord_standin.people import is_ephemeral

COMMANDS = [("edit", {"prompt": "a hat"}), ("upscale", {}), ("assist", {"request": "a hat"}), ("info", {})]


@pytest.mark.parametrize(("command", "options"), COMMANDS)
@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (Attached(b"hello", "notes.txt", "text/plain"), "not an image"),
        (Attached(PNG, size_bytes=21 << 20), "at most 20 MiB"),
        (Attached(b"\x89PNG" + bytes(20 << 20), size_bytes=1), "at most 20 MiB"),
    ],
    ids=["text", "large", "larger than it says"],
)
async def test_files_that_are_no_image_or_too_large_are_refused(
    discord: DiscordStandIn,
    bot: PhotogramBot,
    server: WireServer,
    command: str,
    options: dict[str, object],
    file: Attached,
    sentence: str,
):
    ada = discord.person("ada")
    await ada.sees(await ada.slash(command, image=file, **options), says(sentence))
    assert not server.requests


async def test_an_empty_file_is_no_image(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    ada = discord.person("ada")
    await ada.sees(await ada.slash("edit", image=Attached(b""), prompt="a hat"), says("not an image"))
    assert not server.records


async def test_a_file_that_discord_lost_is_asked_for_again(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    ada = discord.person("ada")
    form = await ada.menu("Use as input", discord.world.new_message(ada.channel, ada.user, attachments=[
        discord.rest.add_file("cat.png", PNG)
    ]))  # fmt: skip
    discord.world.files.clear()
    await ada.sees(await ada.fill_in(form, "a hat"), says("attach it again"))


async def test_what_the_server_says_about_an_image_is_passed_on(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    errors = [{"field": "body", "message": "the image has 900000000 pixels, more than 100000000"}]
    server.answer_next(lambda: problem(422, "invalid_params", "the body cannot be read", errors=errors))
    ada = discord.person("ada")
    await ada.sees(await ada.slash("edit", image=PNG, prompt="a hat"), says("The image has 900000000 pixels"))


async def test_images_elsewhere_are_taken_from_discords_proxy_only(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    read = files.Files.read

    async def noted(self: files.Files, url: str) -> bytes:
        asked.append(url)
        return await read(self, url)

    monkeypatch.setattr(files.Files, "read", noted)
    proxy = discord.rest.add_file("cat.png", PNG)["url"]
    inside = "http://169.254.169.254/latest/meta-data"
    ada = discord.person("ada")
    embed = {"type": "image", "image": {"url": inside, "proxy_url": proxy}}
    await ada.menu("Info", discord.world.new_message(ada.channel, ada.user, embeds=[embed]))
    media = {"type": 12, "id": 1, "items": [{"media": {"url": inside, "proxy_url": proxy}}]}
    await ada.menu("Info", discord.world.new_message(ada.channel, ada.user, components=[media], flags=1 << 15))
    await discord.until(lambda: len(asked) == 2)
    assert asked == [proxy] * 2

    bare = discord.world.new_message(ada.channel, ada.user, embeds=[{"type": "image", "image": {"url": inside}}])
    assert is_ephemeral(await ada.sees(await ada.menu("Upscale", bare), says("no image")))
    assert asked == [proxy] * 2 and not server.records


async def test_a_redirect_to_another_address_is_not_followed(bot: PhotogramBot, server: WireServer):
    assert await bot.files.read(f"{server.url}/images/cat") == PNG
    with pytest.raises(Refused, match="attach it again"):
        await bot.files.read(f"{server.url}/elsewhere/cat")


def test_texts_that_grow_when_they_are_decompressed_are_bounded():
    bomb = zlib.compress(bytes(64 << 20), 9)
    many = b"".join(chunk(b"zTXt", b"k%d\0\0" % number + bomb) for number in range(64))
    found = image_info.texts(image_info.SIGNATURE + many)
    assert sum(map(len, found.values())) <= image_info.TEXT_MAX_BYTES


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff" * 12,
        b"\0\0\0\0zTXt\0\0\0\0",
        b"\xff\xff\xff\xfftEXtk\0v",
        chunk(b"iTXt", b"k\0\1\0"),
        b"\0" * 240_000,
    ],
)
def test_damaged_files_say_nothing(body: bytes):
    assert set(image_info.texts(image_info.SIGNATURE + body).values()) <= {"", "v"}


async def test_a_small_image_is_upscaled(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    await finished(discord.person("ada"), "upscale", image=Attached(PNG, "Bild ä.png"))
    assert len(server.records) == 1

"""Settings, limits, rules of channels, listings, information and the queue."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable

import pytest
from fastapi import Response
from fastapi.responses import JSONResponse
from photogram_discord import PhotogramBot, rules

from tests.clients.discord.conftest import BotRig
from tests.clients.discord.test_drawing import finished, is_over, says
from tests.clients.wire_server import KEY, WireServer, problem
from tests.discord_standin import Attached, DiscordStandIn, Person
from tests.discord_standin.people import is_ephemeral, text_of


def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def png_with(name: str, text: str) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"tEXt", f"{name}\0{text}".encode("latin-1")) + chunk(b"IEND", b"")


async def refused(person: Person, sentence: str, **options: object) -> None:
    interaction = await person.slash("imagine", **options)
    assert is_ephemeral(await person.sees(interaction, says(sentence)))


async def test_defaults_of_a_user_fill_what_a_command_leaves_out(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    ada = discord.person("ada")
    await ada.slash("settings mine", size="2:3", steps=3)
    await finished(ada, "imagine", prompt="a cat", steps=2)
    [record] = server.records.values()
    assert record.body["params"] == {"prompt": "a cat", "aspect_ratio": "2:3", "num_inference_steps": 2}


async def test_a_guilds_own_key_is_asked_for_in_a_form(discord: DiscordStandIn, rig: BotRig, server: WireServer):
    server.needs_key = True
    bot = await rig.start(api_key="not-a-key")
    chief = discord.person("chief", is_manager=True)
    form = await chief.slash("settings key")
    answer = await chief.fill_in(form, KEY)
    shown = await chief.sees(answer, says("API key: one of its own"))
    assert is_ephemeral(shown) and KEY not in text_of(shown)
    await finished(chief, "imagine", prompt="a cat")
    assert len(server.records) == 1 and KEY not in repr(bot.store)


async def test_only_managers_change_what_holds_for_all(discord: DiscordStandIn, bot: PhotogramBot):
    ada = discord.person("ada")
    interaction = await ada.slash("settings limits", daily=1)
    assert is_ephemeral(await ada.sees(interaction, says("Manage Server")))


async def test_limits_hold_for_members_and_more_for_a_role(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    chief, ada, bob = discord.person("chief", is_manager=True), discord.person("ada"), discord.person("bob")
    await chief.slash("settings limits", daily=2, count=1, steps=30)
    shown = await chief.slash("settings limits", daily=3, role=discord.world.role)
    assert f"<@&{discord.world.role['id']}>: daily at most 3" in text_of(await chief.sees(shown, says("daily")))
    bob.roles = [discord.world.role["id"]]
    await refused(ada, "at most 1 image at once", prompt="a cat", count=2)
    await refused(ada, "at most 30 steps", prompt="a cat", steps=31)
    for _ in range(2):
        await finished(ada, "imagine", prompt="a cat")
    await refused(ada, "2 images a day", prompt="a cat")
    for _ in range(3):
        await finished(bob, "imagine", prompt="a cat")
    await refused(bob, "3 images a day", prompt="a cat")
    assert len(server.records) == 5


async def test_some_words_need_an_age_restricted_channel(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    chief = discord.person("chief", is_manager=True)
    await chief.slash("settings adult", words="gore, nude")
    await refused(discord.person("ada"), "age-restricted", prompt="a NUDE statue")
    await refused(discord.person("cy"), "age-restricted", prompt="gore")
    await finished(discord.person("bob", discord.world.adult), "imagine", prompt="a nude statue")
    await finished(discord.person("dan"), "imagine", prompt="a denuded hill")


async def test_what_the_language_model_proposes_is_checked_too(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    chief, ada = discord.person("chief", is_manager=True), discord.person("ada")
    await chief.slash("settings limits", steps=30)
    await chief.slash("settings adult", words="gore")
    for params, sentence in (
        ({"prompt": "a cat", "num_inference_steps": 100}, "at most 30 steps"),
        ({"prompt": "much g\u200bore"}, "age-restricted"),
    ):
        server.answer_next(lambda params=params: proposing(params))
        await ada.sees(await ada.slash("assist", request="something"), says(sentence))
    assert not server.records and not bot.store.used_today(f"guild:{discord.world.guild_id}:{ada.id}")


def proposing(params: dict[str, object]) -> Response:
    job = {"kind": "txt2img", "params": params}
    return JSONResponse({"status": "proposed", "job": job, "message": "", "calls": [], "rounds": 1, "engine": "tiny"})


def moderate(request: object) -> str | None:
    return "No cats today." if "cat" in request.prompt else None


async def moderate_slowly(request: object) -> str | None:
    await asyncio.sleep(0.05)
    return "No dogs today." if "dog" in request.prompt else None


async def moderate_for_ever(request: object) -> str | None:
    await asyncio.sleep(600)


def moderate_and_fail(request: object) -> str | None:
    raise OSError("the list cannot be read")


@pytest.mark.parametrize(
    ("function", "prompt", "sentence"),
    [
        (moderate, "a cat", "No cats today."),
        (moderate_slowly, "a dog", "No dogs today."),
        (moderate_for_ever, "a hat", "cannot be checked"),
        (moderate_and_fail, "a hat", "cannot be checked"),
    ],
)
async def test_the_operators_function_may_refuse(
    discord: DiscordStandIn, rig: BotRig, server: WireServer, monkeypatch: pytest.MonkeyPatch,
    function: Callable[[object], object], prompt: str, sentence: str,
):  # fmt: skip
    if function is moderate_for_ever:
        monkeypatch.setattr(rules, "MODERATION_S", 0.05)
    await rig.start(moderation=f"{__name__}:{function.__name__}")
    await refused(discord.person("ada"), sentence, prompt=prompt)
    assert not server.records
    if function in (moderate, moderate_slowly):
        await finished(discord.person("bob"), "imagine", prompt="a hat")


async def test_the_daily_count_is_exact_for_requests_at_once(discord: DiscordStandIn, rig: BotRig, server: WireServer):
    await rig.start(moderation=f"{__name__}:moderate_slowly", daily_images=2)
    ada = discord.person_in_private("ada")
    asked = await asyncio.gather(*(ada.slash("imagine", prompt=f"hat {number}") for number in range(6)))
    seen = [await ada.sees(each, lambda message: is_over(message) or is_ephemeral(message)) for each in asked]
    assert sum(map(is_over, seen)) == len(server.records) == 2
    assert sum("2 images a day" in text_of(message) for message in seen) == 4


async def test_a_request_that_comes_to_nothing_is_not_counted(discord: DiscordStandIn, rig: BotRig, server: WireServer):
    await rig.start(daily_images=1)
    ada = discord.person("ada")
    await ada.sees(await ada.slash("edit", image=Attached(b""), prompt="a hat"), says("not an image"))
    await finished(ada, "imagine", prompt="a hat")
    await refused(ada, "1 image a day", prompt="a hat")


@pytest.mark.parametrize(
    ("key", "sentence"),
    [("not-a-key", "does not know that key"), ("a key", "has no spaces"), ("ключ", "has no spaces")],
)
async def test_a_wrong_key_is_not_kept(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer, key: str, sentence: str
):
    server.needs_key = True
    chief = discord.person("chief", is_manager=True)
    answer = await chief.fill_in(await chief.slash("settings key"), key)
    assert is_ephemeral(await chief.sees(answer, says(sentence)))
    await finished(chief, "imagine", prompt="a cat")


async def test_autocomplete_offers_what_the_server_can_use(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    ada = discord.person("ada")
    assert await ada.suggestions("imagine", "sampler", "") == ["euler", "ddim"]
    assert await ada.suggestions("imagine", "model", "HOU") == ["house"]
    assert await ada.suggestions("upscale", "upscaler", "") == ["first"]


async def test_info_reads_the_file_back(discord: DiscordStandIn, bot: PhotogramBot):
    ada = discord.person("ada")
    params = {"prompt": "a cat", "seed": 7, "negative_prompt": "", "mask": None, "loras": [], "tiling": False}
    made = json.dumps({"kind": "txt2img", "params": params})
    for image, sentence in (
        (png_with("photogram", made), "seed: 7"),
        (png_with("parameters", "a cat\nSteps: 20"), "Steps: 20"),
        (b"no image", "does not say"),
    ):
        interaction = await ada.slash("info", image=image)
        shown = await ada.sees(interaction, says(sentence))
        assert is_ephemeral(shown)
        assert not any(name in text_of(shown) for name in ("negative", "mask", "loras"))


MANIFEST = {
    "is_ours": False,
    "issuer": "Acme *Cameras*",
    "common_name": None,
    "claim_generator": "x",
    "ingredients": [],
}
CREATED = {"action": "c2pa.created", "digital_source_type": "digitalCapture", "description": "@everyone"}


def carrying(state: str | None, **more: object) -> Callable[[], Response]:
    """The answer of the server about a file with a manifest in this state, or without one."""
    manifest = None if state is None else {**MANIFEST, "state": state, "actions": [CREATED], "problems": ["hash.no"]}
    nothing = {"digital_source_type": None, "watermark": None, "parameters": ""}
    return lambda: JSONResponse({"media_type": "image/jpeg", **nothing, "c2pa": manifest, **more})


@pytest.mark.parametrize(
    ("answer", "sentences"),
    [
        (
            carrying("untrusted"),
            ("signed by Acme \\*Cameras\\*, whom this server does not know", "- created · digital"),
        ),
        (carrying("tampered"), ("**changed** after Acme", "- why: hash.no")),
        (carrying("unreadable"), ("cannot be read",)),
        (carrying("of a later version"), ("of a later version",)),
        (carrying(None), ("no mark", "does not say how")),
        (carrying(None, digital_source_type="trainedAlgorithmicMedia"), ("anybody can write: generated by AI",)),
        (carrying(None, watermark={"id": "0badcafe", "confidence": 0.9}), ("id 0badcafe",)),
        (carrying(None, parameters="a cat\nSteps: 20"), ("Steps: 20", "The file says how")),
        (lambda: problem(500, "internal", "no"), ("Not verified. The image server failed",)),
        (lambda: JSONResponse({"c2pa": 7}), ("Not verified. Something went wrong",)),
    ],
)
async def test_info_tells_the_marks_that_the_server_verified(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer, answer: Callable[[], Response], sentences: list[str]
):
    server.answer_next(answer)
    ada = discord.person("ada")
    shown = text_of(
        await ada.sees(await ada.slash("info", image=png_with("Title", "a cat")), says("Marks in the file"))
    )
    assert all(sentence in shown for sentence in sentences), shown
    assert not discord.world.pings


async def test_info_reads_a_file_while_the_server_does_not_answer(discord: DiscordStandIn, rig: BotRig):
    await rig.start(url="http://127.0.0.1:9")
    ada = discord.person("ada")
    made = json.dumps({"kind": "txt2img", "params": {"prompt": "a cat", "seed": 7}})
    shown = await ada.sees(await ada.slash("info", image=png_with("photogram", made)), says("cannot be reached"))
    assert "seed: 7" in text_of(shown)


async def test_the_menu_info_needs_an_image(discord: DiscordStandIn, bot: PhotogramBot):
    ada = discord.person("ada")
    text = discord.world.new_message(ada.channel, ada.user, content="hello")
    interaction = await ada.menu("Info", text)
    assert is_ephemeral(await ada.sees(interaction, says("no image")))


async def test_the_queue_lists_what_the_user_waits_for(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    server.step_s = 0.3
    ada, bob = discord.person("ada"), discord.person("bob")
    await ada.slash("imagine", prompt="a slow cat", count=2)
    await bob.slash("imagine", prompt="a dog")
    await discord.until(lambda: len(server.records) == 3)
    interaction = await ada.slash("queue")
    message = await ada.sees(interaction, says("a slow cat"))
    assert "2 x, " in text_of(message) and "a dog" not in text_of(message) and "others wait for: 1" in text_of(message)

"""What goes wrong on the side of Discord or of the server, and what people then see."""

from __future__ import annotations

import asyncio

import pytest
from photogram_discord import PhotogramBot

from tests.clients.discord.conftest import BotRig
from tests.clients.discord.test_drawing import finished, is_over, says
from tests.clients.wire_server import WireServer, problem
from tests.discord_standin import DiscordStandIn
from tests.discord_standin.people import gallery_of, text_of


async def test_a_job_that_ended_while_the_bot_was_down_is_delivered_and_not_drawn_twice(
    discord: DiscordStandIn, rig: BotRig, server: WireServer
):
    server.step_s = 0.1
    await rig.start()
    ada = discord.person("ada")
    interaction = await ada.slash("imagine", prompt="a cat")
    await discord.until(lambda: server.records)
    await rig.stop()
    [record] = server.records.values()
    await discord.until(lambda: record.is_final)
    discord.pass_time()
    await rig.start()

    message = await ada.sees(interaction, is_over)
    assert gallery_of(message) and [*server.records.values()] == [record]


async def test_the_sixteenth_minute_is_edited_by_the_bots_own_token(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    server.step_s = 0.3
    ada = discord.person("ada")
    interaction = await ada.slash("imagine", prompt="a cat")
    await ada.sees(interaction, says("Waiting"))
    discord.pass_time()
    assert gallery_of(await ada.sees(interaction, is_over))


async def test_a_cut_connection_is_resumed_and_loses_no_command(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    discord.rest.answer_within_s = 30.0  # discord.py waits for some seconds before it connects again
    await discord.gateway.drop()
    ada = discord.person("ada")
    _, message = await finished(ada, "imagine", prompt="a cat")
    assert gallery_of(message)
    assert (discord.gateway.resumes, len(discord.gateway.identifies)) == (1, 1)


async def test_failures_of_discord_are_tried_again(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    discord.rest.faults.order("PATCH /api/webhooks", 502)
    ada = discord.person("ada")
    _, message = await finished(ada, "imagine", prompt="a cat")
    assert gallery_of(message) and not discord.rest.faults.ordered


async def test_an_interaction_that_discord_gave_up_starts_no_job(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer, caplog: pytest.LogCaptureFixture
):
    discord.rest.answer_within_s = 0.0
    ada = discord.person("ada")
    asking = asyncio.create_task(ada.slash("imagine", prompt="a cat"))
    await discord.until(lambda: "cannot be answered" in caplog.text)
    asking.cancel()
    assert not server.records


async def test_a_server_that_does_not_answer_is_asked_again(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    down = [lambda: problem(500, "internal_error", "it broke")] * 2
    server.answer_next(*down)
    ada = discord.person("ada")
    interaction = await ada.slash("imagine", prompt="a cat")
    await ada.sees(interaction, says("does not answer"))
    assert gallery_of(await ada.sees(interaction, is_over)) and len(server.records) == 1


async def test_a_failed_job_says_why(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    server.outcome = "failed"
    _, message = await finished(discord.person("ada"), "imagine", prompt="a cat")
    assert "the image is too large for this device" in text_of(message)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda: problem(401, "unauthorized", "unknown key 0x"), "does not know the API key"),
        (lambda: problem(422, "no_proposal", "no tool call"), "Other words may help"),
        (lambda: problem(503, "language_unavailable", "off"), "no language model"),
    ],
)
async def test_refusals_of_the_server_are_explained(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer, answer: object, sentence: str
):
    server.answer_next(answer)
    ada = discord.person("ada")
    interaction = await ada.slash("assist", request="a cat")
    assert sentence in text_of(await ada.sees(interaction, says(sentence)))

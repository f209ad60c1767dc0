"""`/agent`: a brief, its question in the message, and what answers it."""

from __future__ import annotations

import pytest
from photogram_discord import PhotogramBot

from tests.clients.discord.test_drawing import finished, is_over, says
from tests.clients.wire_server import PNG, WireServer
from tests.discord_standin import DiscordStandIn
from tests.discord_standin.people import gallery_of, labels_of, text_of

QUESTION = {"id": "q", "question": "Which *ground*?", "choices": ["a red one", "a blue one"]}


@pytest.fixture
def asking(server: WireServer) -> WireServer:
    server.question = QUESTION
    return server


async def test_a_brief_becomes_a_job_with_its_image(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    ada = discord.person("ada")
    _, message = await finished(ada, "agent", brief="six icons of fruit", image=PNG, seed=3)
    [record] = server.records.values()
    assert record.body["kind"] == "agent" and record.body["params"]["files"][0].startswith("input:")
    assert {"brief": "six icons of fruit", "mode": "ask", "seed": 3}.items() <= record.body["params"].items()
    assert "six icons of fruit" in text_of(message) and gallery_of(message)
    assert "Vary subtle" not in labels_of(message), "an agent's images have no seed to vary"


async def test_a_question_is_answered_from_its_menu(discord: DiscordStandIn, bot: PhotogramBot, asking: WireServer):
    ada = discord.person("ada")
    interaction = await ada.slash("agent", brief="a story")
    asked = await ada.sees(interaction, says("Which"))
    assert labels_of(asked) == ["Answer", "Cancel"] and gallery_of(asked), "with the image that it is about"
    await ada.choose(asked, "a blue one")
    await ada.sees(interaction, is_over)
    assert asking.told == [{"text": "a blue one"}]


async def test_a_question_is_answered_in_words_by_its_owner_only(
    discord: DiscordStandIn, bot: PhotogramBot, asking: WireServer
):
    ada, bob = discord.person("ada"), discord.person("bob")
    interaction = await ada.slash("agent", brief="a story")
    asked = await ada.sees(interaction, says("Which"))
    refused = await bob.press(asked, "Answer")
    await bob.sees(refused, says("Only the person"))
    form = await ada.press(asked, "Answer")
    await ada.fill_in(form, "a green one")
    await ada.sees(interaction, is_over)
    assert asking.told == [{"text": "a green one"}]

"""What people and servers write, in messages of the bot: literally, within Discord's limits, and notifying nobody."""

from __future__ import annotations

import discord as discord_py
import pytest
from photogram import Loading, Queued, QueuePlace
from photogram_discord import PhotogramBot
from photogram_discord.markdown import escaped, in_line
from photogram_discord.progress import JobProgress, summary

from tests.clients.discord.test_drawing import finished, is_over, says
from tests.clients.wire_server import PNG, WireServer, problem
from tests.discord_standin import DiscordStandIn
from tests.discord_standin.people import gallery_of, text_of

LOUD = "@everyone @here <@123456789012345678> <@&223456789012345678> a cat"


async def test_mentions_in_prompts_notify_nobody(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    ada, chief = discord.person("ada"), discord.person("chief", is_manager=True)
    _, message = await finished(ada, "imagine", prompt=LOUD)
    await finished(ada, "edit", image=PNG, prompt=LOUD)
    form = await ada.press(message, "Edit prompt")
    await ada.sees(await ada.fill_in(form, LOUD), is_over)
    await ada.slash("settings mine", model=LOUD)
    await chief.slash("settings adult", words="@everyone")
    await ada.sees(await ada.slash("imagine", prompt=LOUD), says("age-restricted"))
    server.answer_next(lambda: problem(422, "invalid_params", LOUD))
    await ada.sees(await ada.slash("assist", request="a cat"), says("cat"))
    server.outcome = "never"
    await ada.slash("edit", image=PNG, prompt="a hat")
    await ada.slash("queue")
    assert discord.world.pings == []


async def test_prompts_are_shown_as_they_were_written(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    ada = discord.person("ada")
    for prompt, shown in (
        ("<t:1700000000:R> <#1> </imagine:1> <a:x:1>", r"\<t:1700000000:R> \<#1> \</imagine:1> \<a:x:1>"),
        ("[a](https://example.org)", r"\[a](https://example.org)"),
        ("\u202eabc\u2066 \u2069שלום\u200d", "abc שלום\u200d"),
    ):
        _, message = await finished(ada, "imagine", prompt=prompt)
        assert f"**{shown}** · <@{ada.id}>" in text_of(message)


async def test_the_longest_texts_stay_within_the_limits_of_messages(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    ada = discord.person("ada")
    longest = "*_`~|" * 800
    _, message = await finished(ada, "imagine", prompt=longest, enhance=True, count=4)
    assert all(item["description"].endswith("seed 77)") for item in gallery_of(message))
    form = await ada.press(message, "Edit prompt")
    assert form.modal["components"][0]["component"]["value"] == longest
    server.outcome = "failed"
    await finished(ada, "imagine", prompt=longest, count=4)
    errors = [{"field": f"params.{longest}", "message": longest}] * 32
    server.answer_next(lambda: problem(422, "invalid_params", longest, errors=errors))
    await ada.sees(await ada.slash("assist", request=longest[:2000]), says("…"))


async def test_the_queue_is_shown_however_long_the_prompts_are(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    server.outcome = "never"
    ada = discord.person("ada")
    for _ in range(12):
        await ada.slash("imagine", prompt="[*]" * 1000)
    await discord.until(lambda: len(server.records) == 12)
    await ada.sees(await ada.slash("queue"), says("others wait for: 0"))


async def test_the_longest_settings_are_shown(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    chief = discord.person("chief", is_manager=True)
    await chief.sees(await chief.slash("settings adult", words=",".join(["*" * 50] * 100)), says("…"))
    await chief.sees(await chief.slash("settings adult", words="x" * 51), says("50 characters can be kept"))
    await chief.slash("settings mine", model="*" * 6000)
    await chief.sees(await chief.slash("settings show"), says("This server"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**a** cat", r"\*\*a\*\* cat"),
        ("[cat](https://example.org)", r"\[cat](https://example.org)"),
        ("# cat", r"\# cat"),
        ("@everyone", "@\u200beveryone"),
        ("a\n\n  cat", "a cat"),
    ],
)
def test_texts_are_shown_literally(text: str, shown: str):
    assert in_line(text, 100) == shown


def test_a_text_is_not_cut_within_an_escape():
    assert escaped("aaaa*", 6) == r"aaaa\*" and escaped("aaaa**", 6) == "aaaa…"


def test_what_a_job_waits_for_is_named():
    job = JobProgress()
    job.apply(Loading("a *big* model", 1_500_000_000, 6_000_000_000))
    assert summary([job]) == r"Loading a \*big\* model · 25% of 6.00 GB"
    job.apply(Loading("other"))
    assert summary([job, JobProgress()]) == "Loading other"


@pytest.mark.parametrize(
    ("places", "shown"),
    [
        ([QueuePlace(0, None)], "Waiting in the queue"),
        ([QueuePlace(1, 0.2)], "Waiting in the queue · 1 job ahead · about 1 s left"),
        ([QueuePlace(8, 90.0), QueuePlace(7, 150.0)], "Waiting in the queue · 7 jobs ahead · about 2 min left"),
    ],
)
def test_the_place_in_the_queue_is_shown(places: list[QueuePlace], shown: str):
    jobs = [JobProgress() for _ in places]
    for job, place in zip(jobs, places, strict=True):
        job.apply(Queued(place))
    assert summary(jobs) == shown
    jobs[0].apply(Loading("a model"))
    assert summary(jobs) == "Loading a model"


async def test_a_message_can_notify_if_it_is_told_to(discord: DiscordStandIn, bot: PhotogramBot):
    channel = bot.get_partial_messageable(discord.world.general)
    await channel.send("@everyone", allowed_mentions=discord_py.AllowedMentions.all())
    assert discord.world.pings == ["@everyone"]

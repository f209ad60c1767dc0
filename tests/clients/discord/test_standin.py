"""The stand-in itself: sessions, heartbeats and rate limits, as discord.py meets them."""

from __future__ import annotations

import asyncio

import discord as discord_py
import pytest

from tests.clients.discord.conftest import BotRig
from tests.discord_standin import DiscordStandIn


async def test_heartbeats_are_sent_and_a_session_is_resumed_or_begun_anew(discord: DiscordStandIn, rig: BotRig):
    gateway = discord.gateway
    gateway.heartbeat_interval_ms = 100
    await rig.start()
    await discord.until(lambda: gateway.heartbeats >= 3)
    await gateway.request_reconnect()
    await discord.until(lambda: gateway.resumes == 1)
    await gateway.invalidate()
    await discord.until(lambda: len(gateway.identifies) == 2)


async def test_the_bot_asks_for_no_messages_of_people(discord: DiscordStandIn, rig: BotRig):
    await rig.start()
    assert discord.gateway.identifies[0]["intents"] == discord_py.Intents(guilds=True).value


async def test_a_full_bucket_is_answered_429_and_tried_again(discord: DiscordStandIn, rig: BotRig):
    discord.rest.buckets.limit, discord.rest.buckets.window_s = 1, 1.0
    bot = await rig.start()
    message = discord.world.new_message(discord.world.general, discord.world.bot)
    other = discord_py.http.HTTPClient(bot.loop)  # another process, which knows nothing of the bucket
    await other.static_login(discord.token)
    asked = (discord.world.general, int(message["id"]))
    answers = await asyncio.gather(bot.http.get_message(*asked), other.get_message(*asked))
    assert [answer["id"] for answer in answers] == [message["id"]] * 2
    await other.close()
    assert discord.rest.buckets.refused == 1


async def test_what_discord_refuses_in_a_message_is_refused(discord: DiscordStandIn, rig: BotRig):
    bot = await rig.start()
    channel = bot.get_partial_messageable(discord.world.general)
    with pytest.raises(discord_py.HTTPException, match="50035"):
        await channel.send("x" * 2001)

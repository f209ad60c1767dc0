"""A stand-in of Discord for tests: the gateway, the REST API and people, behind the real discord.py client.

async with DiscordStandIn() as discord:
    client = MyClient(...)                  # any discord.Client
    task = asyncio.create_task(client.start(discord.token))
    await discord.until_ready()
    reply = await discord.person("ada").slash("imagine", prompt="a cat")
"""

from .people import Attached, Person
from .standin import DiscordStandIn

__all__ = ["Attached", "DiscordStandIn", "Person"]

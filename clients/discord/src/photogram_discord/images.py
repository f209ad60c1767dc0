"""Images that people give, attached or in messages: read from Discord, and uploaded to the server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import discord
from photogram import AsyncPhotogram

from .errors import Refused

MAX_INPUT_BYTES = 20 << 20
NO_IMAGE = "There is no image in that message."


@dataclass(frozen=True, slots=True)
class GivenImage:
    """An image that Discord stores."""

    client: discord.Client
    url: str
    size_bytes: int = 0

    async def read(self) -> bytes:
        """Its bytes; raises Refused."""
        if self.size_bytes > MAX_INPUT_BYTES:
            raise Refused(f"An image may have at most {MAX_INPUT_BYTES >> 20} MiB.")
        try:
            return await self.client.http.get_from_cdn(self.url)
        except (discord.HTTPException, OSError) as error:
            raise Refused("Discord does not give me that image. Please attach it again.") from error

    async def upload(self, server: AsyncPhotogram) -> str:
        """The source by which jobs of `server` start from it; raises Refused and the client's errors."""
        return (await server.upload(await self.read())).source


def given_in(client: discord.Client, attachment: discord.Attachment) -> GivenImage:
    """The image of an attachment."""
    return GivenImage(client, attachment.url, attachment.size)


def first_in(client: discord.Client, message: discord.Message) -> GivenImage:
    """The first image in a message, attached or in a gallery; raises Refused if there is none."""
    found = next(_images(client, message), None)
    if found is None:
        raise Refused(NO_IMAGE)
    return found


def _images(client: discord.Client, message: discord.Message) -> Iterator[GivenImage]:
    for attachment in message.attachments:
        if (attachment.content_type or "").startswith("image/"):
            yield given_in(client, attachment)
    for component in message.components:
        for child in (component, *getattr(component, "children", ())):
            if isinstance(child, discord.MediaGalleryComponent):
                yield from (GivenImage(client, item.media.url) for item in child.items)
    for embed in message.embeds:
        if embed.image.url is not None:
            yield GivenImage(client, embed.image.url)

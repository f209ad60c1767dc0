"""Images that people give, attached or in messages: read from Discord, and uploaded to the server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import discord
from photogram import AsyncPhotogram

from .errors import Refused
from .files import MAX_INPUT_BYTES, TOO_LARGE, Files

NO_IMAGE = "There is no image in that message."
NOT_AN_IMAGE = "That file is not an image. PNG, JPEG and WebP files are."


@dataclass(frozen=True, slots=True)
class GivenImage:
    """A file that Discord stores, and what Discord says about it."""

    files: Files
    url: str
    size_bytes: int = 0
    media_type: str | None = None

    async def read(self) -> bytes:
        """Its bytes; raises Refused."""
        if not (self.media_type or "image/").startswith("image/"):
            raise Refused(NOT_AN_IMAGE)
        if self.size_bytes > MAX_INPUT_BYTES:
            raise Refused(TOO_LARGE)
        return await self.files.read(self.url)

    async def upload(self, server: AsyncPhotogram) -> str:
        """The source by which jobs of `server` start from it; raises Refused and the client's errors."""
        data = await self.read()
        if not data:
            raise Refused(NOT_AN_IMAGE)
        return (await server.upload(data)).source


def given_in(files: Files, attachment: discord.Attachment) -> GivenImage:
    """The image of an attachment."""
    return GivenImage(files, attachment.url, attachment.size, attachment.content_type)


def first_in(files: Files, message: discord.Message) -> GivenImage:
    """The first image in a message, attached or in a gallery; raises Refused if there is none."""
    found = next(_images(files, message), None)
    if found is None:
        raise Refused(NO_IMAGE)
    return found


def _images(files: Files, message: discord.Message) -> Iterator[GivenImage]:
    """Images that are elsewhere than at Discord are taken from its proxy: the bot asks no address of a message."""
    for attachment in message.attachments:
        if (attachment.content_type or "").startswith("image/"):
            yield given_in(files, attachment)
    for component in message.components:
        for child in (component, *getattr(component, "children", ())):
            if isinstance(child, discord.MediaGalleryComponent):
                yield from filter(None, (_unfurled(files, item.media) for item in child.items))
    for embed in message.embeds:
        if embed.image.proxy_url is not None:
            yield GivenImage(files, embed.image.proxy_url)


def _unfurled(files: Files, media: discord.UnfurledMediaItem) -> GivenImage | None:
    url = media.url if media.attachment_id is not None else media.proxy_url
    return None if url is None else GivenImage(files, url)

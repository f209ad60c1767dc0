"""The tool by which an agent finds images that its API key made before, and gets copies of them into its workspace."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from anyio import to_thread
from redis.asyncio import Redis

from models.agent.calls import ToolSpec
from service.backbone.listing import JobQuery
from service.backbone.watch import JobWatcher
from service.jobs.caller import Caller

if TYPE_CHECKING:
    from service.backbone.image_search import FoundImage, ImageSearch

SEARCH = "search_images"
LIMIT_MAX = 8
TEXT_MAX_CHARS = 500
SEARCH_SPEC = ToolSpec(
    name=SEARCH,
    description="Find images that were made before, by what they show; copies of them are put into a folder of the "
    "workspace, the most similar first.",
    parameters={
        "type": "object",
        "properties": {
            "text": {"type": "string", "minLength": 1, "maxLength": TEXT_MAX_CHARS},
            "limit": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "description": "How many; by default 4."},
            "folder": {
                "type": "string", "pattern": "^[A-Za-z0-9_-]{1,40}$", "description": "By default found.",
            },
        },
        "required": ["text"],
        "additionalProperties": False,
    },
)  # fmt: skip


class ImageFinder:
    """Searches the images of one API key.

    Args:
        caller: reads the key.
    """

    def __init__(self, connection: Redis, watcher: JobWatcher, caller: Callable[[], Caller]) -> None:
        self._connection, self._watcher, self._caller = connection, watcher, caller

    async def find(self, text: str, limit: int) -> list[FoundImage]:
        """The images most similar to ``text``, at most ``limit``."""
        caller = await to_thread.run_sync(self._caller)
        search = await to_thread.run_sync(lambda: self._search)
        vector = await search.vector_of_text(text)
        return await search.nearest(caller.key_id, vector, JobQuery(), limit=limit, least=-1.0)

    @cached_property
    def _search(self) -> ImageSearch:
        # NumPy and the encoders take a second and 70 MB that jobs without a search do not need
        from service.backbone.image_index import ImageIndex
        from service.backbone.image_search import ImageSearch

        return ImageSearch(self._connection, self._watcher, ImageIndex(self._connection))

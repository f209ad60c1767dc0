"""Jobs and images that know their client, so that one can wait for a job and save an image in another format."""

from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path
from typing import Self

from ._async_performer import AsyncPerformer
from ._events import Event
from ._formats import format_of
from ._models import DownloadedImage, Job


class AsyncJobHandle(Job):
    """A job as it was when it was read; its methods read it again.

        job = await client.submit("a cat")
        async for event in job:
            print(event)
        job = await job.wait()

    It is equal to a `Job` with the same values.
    """

    __slots__ = ("_performer",)
    _performer: AsyncPerformer

    @classmethod
    def of(cls, performer: AsyncPerformer, job: Job) -> Self:
        """`job` with the client that its methods use."""
        handle = cls(*(getattr(job, each.name) for each in fields(Job)))
        object.__setattr__(handle, "_performer", performer)
        return handle

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return all(getattr(self, each.name) == getattr(other, each.name) for each in fields(Job))

    def __hash__(self) -> int:
        return super().__hash__()

    async def refresh(self) -> Self:
        """The job as it is now; raises NotFound."""
        return self.of(self._performer, await self._performer.run(self._performer.flows.get(self.id)))

    async def wait(self, timeout_s: float | None = None) -> Self:
        """The job when it has ended, in whatever state; raises WaitTimeout after `timeout_s`."""
        return self.of(self._performer, await self._performer.run(self._performer.flows.wait(self.id, timeout_s)))

    async def cancel(self) -> Self:
        """Request cancellation; a running job may still be `running` in the answer."""
        return self.of(self._performer, await self._performer.run(self._performer.flows.cancel(self.id)))

    async def delete(self) -> None:
        """Delete the job with its events, images and files; one that has not ended is canceled."""
        await self._performer.run(self._performer.flows.delete(self.id))

    async def download(self, index: int = 0, *, file_format: str = "png") -> "AsyncGeneratedImage":
        """An image of the job, once it has succeeded; see `download` of the client."""
        image = await self._performer.run(self._performer.flows.download(self, index, file_format))
        return AsyncGeneratedImage.of(self._performer, image)

    def __aiter__(self) -> AsyncIterator[Event]:
        """The events of the job, from the first to its final status."""
        return self._performer.watch(self, None)


class AsyncGeneratedImage(DownloadedImage):
    """A downloaded image; jobs take it as an image to start from, and notebooks show it."""

    __slots__ = ("_performer",)
    _performer: AsyncPerformer

    @classmethod
    def of(cls, performer: AsyncPerformer, image: DownloadedImage) -> Self:
        """`image` with the client that `save` uses."""
        handle = cls(*(getattr(image, each.name) for each in fields(DownloadedImage)))
        object.__setattr__(handle, "job", AsyncJobHandle.of(performer, image.job))
        object.__setattr__(handle, "_performer", performer)
        return handle

    async def save(self, path: str | Path) -> Path:
        """Write the file of the image, in the format that its suffix names, and return its path.

        The server makes a file of another format, so that it has the same metadata and marks. Raises ValueError for a
        suffix other than `.png`, `.jpg`, `.jpeg`, `.jpe` and `.webp`; OSError.
        """
        target = Path(path)
        wanted, data = format_of(target), self.data
        if wanted != self.file_format:
            flow = self._performer.flows.download(self.job, self.index, wanted)
            data = (await self._performer.run(flow)).data
        target.write_bytes(data)
        return target

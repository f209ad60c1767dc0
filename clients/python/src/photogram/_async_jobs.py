"""`client.jobs`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Unpack

from ._async_handles import AsyncJobHandle
from ._async_performer import AsyncPerformer
from ._events import Event
from ._filters import JobFilters
from ._flows import job_id_of
from ._models import Deletion, Job


class AsyncJobs:
    """`client.jobs`: the jobs of the API key. A job is named by its id, or by itself."""

    def __init__(self, performer: AsyncPerformer) -> None:
        self._performer, self._flows = performer, performer.flows

    async def list(self, **filters: Unpack[JobFilters]) -> AsyncGenerator[AsyncJobHandle, None]:
        """The jobs that pass all filters, the newest first; further pages are fetched as you go.

        async for job in client.jobs.list(status="failed", tag="cats", search="red"):
            print(job.id)
        """
        async for job in self._performer.pages("jobs", Job.from_payload, filters):
            yield AsyncJobHandle.of(self._performer, job)

    async def get(self, job: Job | str) -> AsyncJobHandle:
        """The job as it is now; raises NotFound."""
        return AsyncJobHandle.of(self._performer, await self._performer.run(self._flows.get(job_id_of(job))))

    async def wait(self, job: Job | str, timeout_s: float | None = None) -> AsyncJobHandle:
        """Wait until the job is finished, in whatever state, and return it; raises WaitTimeout after `timeout_s`."""
        found = await self._performer.run(self._flows.wait(job_id_of(job), timeout_s))
        return AsyncJobHandle.of(self._performer, found)

    async def cancel(self, job: Job | str) -> AsyncJobHandle:
        """Request cancellation; a running job may still be `running` in the answer. A finished job does not change."""
        return AsyncJobHandle.of(self._performer, await self._performer.run(self._flows.cancel(job_id_of(job))))

    async def tell(self, job: Job | str, text: str, question: str | None = None) -> AsyncJobHandle:
        """Answer the question that an agent job asks (`job.waiting_for_input`), or say what it shall change.

        With `question`, the id of a question, the text is refused if the job does not ask it now. Raises Conflict if
        the job has ended or takes nothing from people.
        """
        flow = self._flows.tell(job_id_of(job), text, question)
        return AsyncJobHandle.of(self._performer, await self._performer.run(flow))

    async def delete(self, job: Job | str) -> None:
        """Delete a job with its events, images and files; one that has not ended is canceled. Raises NotFound."""
        await self._performer.run(self._flows.delete(job_id_of(job)))

    async def delete_all(self) -> Deletion:
        """Delete all jobs of the API key, as `delete` does; after an error it may be called again."""
        return await self._performer.run(self._flows.delete_all())

    async def watch(self, job: Job | str, timeout_s: float | None = None) -> AsyncGenerator[Event, None]:
        """The job's events, from the first to its final status; while it waits, also its places in the queue.

            async for event in client.jobs.watch(job):
                if isinstance(event, Progressed):
                    print(f"{event.step}/{event.steps}")

        Resumes after a dropped connection (Last-Event-ID). Raises WaitTimeout after `timeout_s` seconds, at the latest
        with the next heartbeat of the server, which comes every 15 s.
        """
        found = await self.get(job) if isinstance(job, str) else job
        async with aclosing(self._performer.watch(found, timeout_s)) as events:
            async for event in events:
                yield event

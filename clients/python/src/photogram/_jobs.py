"""`client.jobs`."""

from collections.abc import Generator
from contextlib import closing
from typing import Unpack

from ._events import Event
from ._filters import JobFilters
from ._flows import job_id_of
from ._handles import JobHandle
from ._models import Deletion, Job
from ._performer import Performer


class Jobs:
    """`client.jobs`: the jobs of the API key. A job is named by its id, or by itself."""

    def __init__(self, performer: Performer) -> None:
        self._performer, self._flows = performer, performer.flows

    def list(self, **filters: Unpack[JobFilters]) -> Generator[JobHandle, None, None]:
        """The jobs that pass all filters, the newest first; further pages are fetched as you go.

        for job in client.jobs.list(status="failed", tag="cats", search="red"):
            print(job.id)
        """
        for job in self._performer.pages("jobs", Job.from_payload, filters):
            yield JobHandle.of(self._performer, job)

    def get(self, job: Job | str) -> JobHandle:
        """The job as it is now; raises NotFound."""
        return JobHandle.of(self._performer, self._performer.run(self._flows.get(job_id_of(job))))

    def wait(self, job: Job | str, timeout_s: float | None = None) -> JobHandle:
        """Wait until the job is finished, in whatever state, and return it; raises WaitTimeout after `timeout_s`."""
        found = self._performer.run(self._flows.wait(job_id_of(job), timeout_s))
        return JobHandle.of(self._performer, found)

    def cancel(self, job: Job | str) -> JobHandle:
        """Request cancellation; a running job may still be `running` in the answer. A finished job does not change."""
        return JobHandle.of(self._performer, self._performer.run(self._flows.cancel(job_id_of(job))))

    def tell(self, job: Job | str, text: str, question: str | None = None) -> JobHandle:
        """Answer the question that an agent job asks (`job.waiting_for_input`), or say what it shall change.

        With `question`, the id of a question, the text is refused if the job does not ask it now. Raises Conflict if
        the job has ended or takes nothing from people.
        """
        flow = self._flows.tell(job_id_of(job), text, question)
        return JobHandle.of(self._performer, self._performer.run(flow))

    def delete(self, job: Job | str) -> None:
        """Delete a job with its events, images and files; one that has not ended is canceled. Raises NotFound."""
        self._performer.run(self._flows.delete(job_id_of(job)))

    def delete_all(self) -> Deletion:
        """Delete all jobs of the API key, as `delete` does; after an error it may be called again."""
        return self._performer.run(self._flows.delete_all())

    def watch(self, job: Job | str, timeout_s: float | None = None) -> Generator[Event, None, None]:
        """The job's events, from the first to its final status; while it waits, also its places in the queue.

            for event in client.jobs.watch(job):
                if isinstance(event, Progressed):
                    print(f"{event.step}/{event.steps}")

        Resumes after a dropped connection (Last-Event-ID). Raises WaitTimeout after `timeout_s` seconds, at the latest
        with the next heartbeat of the server, which comes every 15 s.
        """
        found = self.get(job) if isinstance(job, str) else job
        with closing(self._performer.watch(found, timeout_s)) as events:
            yield from events

"""The events that webhooks tell of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Event(StrEnum):
    """The type of an event, as receivers read it."""

    STARTED = "job.started"
    """A worker has started the job, for the first time."""
    PROGRESS = "job.progress"
    """A running job has done further steps; sent at most every two seconds, and only once."""
    FINISHED = "job.finished"
    """The job has succeeded, failed or been canceled."""
    TEST = "webhook.test"
    """Sent on request, to try an endpoint; only once."""

    @property
    def short(self) -> str:
        """The event in the ids of deliveries and in the scripts of the outbox."""
        return self.value.partition(".")[2]

    @property
    def is_retried(self) -> bool:
        """Whether a delivery that failed is tried again."""
        return self in (Event.STARTED, Event.FINISHED)

    @classmethod
    def of_short(cls, short: str) -> Event:
        """The event that is called ``short`` in the scripts; raises :class:`ValueError`."""
        return next((event for event in cls if event.short == short), None) or cls(short)


JOB_EVENTS = (Event.STARTED, Event.PROGRESS, Event.FINISHED)
"""What an endpoint can ask for."""


def subscription(events: Iterable[Event]) -> str:
    """``events`` as the scripts of the outbox read them: each between spaces."""
    return f" {' '.join(event.short for event in events)} "


@dataclass(frozen=True)
class WebhookLinks:
    """What the record of a job holds for its webhooks."""

    base_url: str = ""
    """What links in them start with."""
    url: str | None = None
    """The URL that came with the job; ``None`` if none did."""
    events: tuple[Event, ...] = ()
    """What this URL gets."""

    def fields(self) -> dict[str, str]:
        """The fields of the hash."""
        own = {} if self.url is None else {"webhook_url": self.url, "webhook_events": subscription(self.events)}
        return {"base_url": self.base_url} | own


NO_WEBHOOK = WebhookLinks()

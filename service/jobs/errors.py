"""Why the job service refuses an operation; ``models.errors`` and ``service.backbone.queue`` have further reasons.

PhotogramError
├── JobNotFound    there is no such job, or it belongs to another key
├── ImageGone      an image of a finished job was removed from the store
├── FileGone       a file of a finished job was removed from the store
├── NotAsked       the job takes nothing from people, now or at all
└── ImageRefused   bytes or a source that cannot be used as an image or archive of a job
"""

from __future__ import annotations

from models.errors import PhotogramError


class JobNotFound(PhotogramError):
    """There is no such job, or it belongs to another key; the caller must not learn which."""


class ImageGone(PhotogramError):
    """An image of a finished job was removed from the store."""


class FileGone(PhotogramError):
    """A file of a finished job was removed from the store."""


class NotAsked(PhotogramError):
    """The job takes nothing from people: it is no agent, it has ended, or it asks something else; the message says."""


class ImageRefused(PhotogramError):
    """Bytes or a source that cannot be used as an image or archive of a job; the message says why."""

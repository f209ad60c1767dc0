"""All Lua of Photogram: one function per script, which gives its source and documents its arguments.

The sources are the ``.lua`` files of this folder. Scripts on a job's record begin with ``record.lua``; their KEYS are
the record, its events, and for workers the key that says that it is watched; ``ARGV[1]`` is the time in seconds since
the epoch and ``ARGV[2]`` the seconds for which a finished job is kept. Each of them checks, changes and announces a
record atomically. A script that a worker calls passes its execution id as a fencing token: it has no effect once the
record names another execution.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from service.backbone.keyspace import (
    CANCEL_CHANNEL,
    DUE_KEY,
    WAKE_CHANNEL,
    owner_jobs_key,
    owner_label_key,
    owner_queued_key,
    owner_running_key,
    record_key,
    snapshot_key,
    usage_key,
)

EVENTS_MAX = 512
"""About how many events of one job are kept."""
EVENTS_TTL_S = 3600
"""How long the events of a finished job are kept at most; they contain previews, which are large."""

USAGE_TTL_S = 400 * 24 * 3600
"""How long the usage of a day or a month is kept: more than a year, so that a year can be compared with the last."""

SNAPSHOT_TTL_S = 24 * 3600
"""How long a snapshot waits for a worker that goes on with it; after that the job begins again."""
START_TIMEOUT, CANCEL_AFTER = "start_timeout", "cancel_after"
"""The codes of jobs that ended because of ``start_within_s`` and ``cancel_after_s``."""
REMOVAL_GRACE_S = 24 * 3600
"""How long the record of a job with ``retain_s`` outlives that time, unseen, so that its images can be found."""

_CONSTANTS = f"""\
local WAKE_CHANNEL, CANCEL_CHANNEL = '{WAKE_CHANNEL}', '{CANCEL_CHANNEL}'
local EVENTS_MAX, EVENTS_TTL_S = {EVENTS_MAX}, {EVENTS_TTL_S}
local OWNER_QUEUED_KEY, OWNER_RUNNING_KEY = '{owner_queued_key("%s")}', '{owner_running_key("%s")}'
local USAGE_KEY = '{usage_key("%s", "%s")}'
local SNAPSHOT_KEY, SNAPSHOT_TTL_S = '{snapshot_key("%s")}', {SNAPSHOT_TTL_S}
local OWNER_JOBS_KEY, OWNER_LABEL_KEY = '{owner_jobs_key("%s")}', '{owner_label_key("%s", "%s")}'
local DUE_KEY, REMOVAL_GRACE_S = '{DUE_KEY}', {REMOVAL_GRACE_S}
local START_TIMEOUT, CANCEL_AFTER = '{START_TIMEOUT}', '{CANCEL_AFTER}'
"""
_ADMITTING = f"local RECORD_KEY, USAGE_TTL_S = '{record_key('%s')}', {USAGE_TTL_S}\n"


def admit() -> str:
    """The intake accepts a job, unless an earlier one has its id or its idempotency key, or a limit forbids it.

    KEYS: record, queue, jobs of the queue that wait for a fetch, jobs of the owner that wait, those that run, the
    owner's requests, its usage of the day and of the month, and the idempotency key if there is one. ARGV: time, how
    many jobs the queue may hold, a JSON object (``Demand`` and the limits that there are), then the commands that write
    the job, each as its number of parts and the parts. Returns ``accepted``; ``earlier`` and the hash of the earlier
    record; ``full``; ``refused``, the name of the limit, how much of it is left and the seconds until there is more; or
    ``skipped``: the object names as ``leader`` the record of another job, which was not accepted. With ``dry_run`` the
    script counts the request and changes nothing else.
    """
    return _ADMITTING + _load("admit")


def start() -> str:
    """A worker starts a job; a job that is running already counts one crash.

    ARGV[3:]: execution id, crash limit, error message of a job that reaches the limit. Returns ``started``,
    ``ended`` (the script ended the job) or ``over`` (it had ended before), and the number of crashes so far.
    """
    return _record_script("start")


def progress() -> str:
    """A worker reports progress, which is written and announced only if it does not fall.

    ARGV[3:]: execution id, step, steps, event kind, event data, what is being loaded as JSON or an empty string.
    Returns ``go``, ``watched`` (go on, and a client watches the previews), ``cancel`` (a client canceled the job) or
    ``over`` (the job is no longer this execution's).
    """
    return _record_script("progress")


def rewrite() -> str:
    """A worker writes what became of the job's prompt.

    ARGV[3:]: execution id, the rewrite as JSON. Returns 1, or 0 if the job is no longer this execution's.
    """
    return _record_script("rewrite")


def snapshot() -> str:
    """A worker keeps what is drawn of the job, for the worker that goes on if this one does not end it.

    ARGV[3:]: execution id, the snapshot. Returns 1, or 0 if the job is no longer this execution's.
    """
    return _record_script("snapshot")


def finish() -> str:
    """A worker ends a job.

    ARGV[3:]: execution id, final status, then names and values of further fields. Returns 1, or 0 if the job is no
    longer this execution's.
    """
    return _record_script("finish")


def requeue() -> str:
    """A worker that stops sets a job back to queued, without a crash.

    ARGV[3:]: execution id. Returns 1, or 0 if the job is no longer this execution's.
    """
    return _record_script("requeue")


def cancel() -> str:
    """A client cancels a job.

    No further ARGV. Returns ``ended`` (it was queued), ``requested`` (its worker will stop it), the final status of a
    job that had ended before, or nil if there is no such job.
    """
    return _record_script("cancel")


def retry() -> str:
    """A worker sets a job that failed back to queued, if it may run again.

    ARGV[3:]: execution id. Returns 1, or 0 if the job has no retries left or is no longer this execution's.
    """
    return _record_script("retry")


def overdue() -> str:
    """End or cancel a job whose ``start_within_s`` or ``cancel_after_s`` is over.

    No further ARGV. Returns as :func:`cancel`; the status of a job that has time left is returned too.
    """
    return _record_script("overdue")


def delete() -> str:
    """Hide a job for good, cancel it if it has not ended, and let it be removed.

    ARGV[3]: the owner that the job must have, or an empty string for a job that is hidden or whose ``retain_s`` is
    over. Returns ``running`` (a worker runs the job, which can be removed once it has ended), ``ended``, or nil if
    there is no such job.
    """
    return _record_script("delete")


def remove() -> str:
    """Remove the record and the events of a hidden job that has ended.

    ARGV[3]: the id of the job. Returns how many keys were removed.
    """
    return _record_script("remove")


def drop_image() -> str:
    """Take an image out of the results of a job.

    ARGV[3:]: owner, id of the image. Returns 1, or 0 if the owner has no such job, or the job no such image.
    """
    return _record_script("drop_image")


def rescue() -> str:
    """Move a job from RQ's intermediate list back to the front of its queue.

    KEYS: intermediate list, queue. ARGV: job id. Returns 0 if the job was no longer in the intermediate list.
    """
    return _load("rescue")


def defer() -> str:
    """Move a popped job to the deferred jobs, at most once in its life.

    KEYS: intermediate list, deferred jobs, record. ARGV: job id, model, time. Returns 1 if the job was deferred.
    """
    return _load("defer")


def claim() -> str:
    """Move the oldest deferred job whose model is loaded to the intermediate list.

    KEYS: deferred jobs, intermediate list. ARGV: a JSON object whose keys are the loaded models. Returns the job id or
    nil. Only the 64 oldest jobs are looked at.
    """
    return _load("claim")


def requeue_deferred() -> str:
    """Move the jobs that were deferred before a time back to the front of the queue.

    KEYS: deferred jobs, queue. ARGV: the time. Returns how many were moved.
    """
    return _load("requeue_deferred")


def park_fetch() -> str:
    """Move a popped job to those that wait for a fetch.

    KEYS: intermediate list, waiting jobs, their owners. ARGV: job id, member of the waiting jobs, owner, time. Returns
    1, or 0 if the job was not in the intermediate list.
    """
    return _load("park_fetch")


def claim_fetch() -> str:
    """Move a job that waits for a fetch to the intermediate list: the oldest with a slot of the owner whose turn it is.

    KEYS: waiting jobs, their owners, intermediate list. ARGV: time, a JSON object with what has no slot: ``owners``,
    ``hosts``, and ``pairs`` (owner, line feed, host). Returns the job id or nil, and how many jobs wait. Only the 1000
    oldest jobs of an owner are looked at.
    """
    return _load("claim_fetch")


def add_first_key() -> str:
    """Add an API key unless there is one.

    KEYS: secrets, records of keys. ARGV: hash of the secret, the secret as JSON, id of the key, its record as JSON.
    Returns 1 if it was added.
    """
    return _load("add_first_key")


def _record_script(name: str) -> str:
    return _CONSTANTS + _load("record") + _load(name)


@cache
def _load(name: str) -> str:
    return files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")

"""All Lua of Photogram: one function per script, which gives its source and documents its arguments.

The sources are the ``.lua`` files of this folder. Scripts on a job's record begin with ``outbox.lua``, because they
queue the webhooks of what they change, and with ``record.lua``; their KEYS are the record, its events, and for workers
the key that says that it is watched; ``ARGV[1]`` is the time in seconds since the epoch and ``ARGV[2]`` the seconds for
which a finished job is kept. Each of them checks, changes and announces a record atomically. A script that a worker
calls passes its execution id as a fencing token: it has no effect once the record names another execution.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from models.jobs.kinds import DIFFUSION_QUEUE
from service.backbone.allowances import STEP_PX_PER_UNIT
from service.backbone.keyspace import (
    CANCEL_CHANNEL,
    DUE_KEY,
    JOB_IS_DELETED,
    LEASES_KEY,
    QUEUED_JOBS_KEY,
    QUEUED_WORK_KEY,
    RETENTION_KEY,
    RQ_QUEUES_KEY,
    STORED_BYTES_KEY,
    STORED_KEY,
    WAKE_CHANNEL,
    WEBHOOK_LANES_KEY,
    WEBHOOK_LEASES_KEY,
    WEBHOOK_WAKE_KEY,
    agent_inputs_key,
    agent_spent_key,
    agent_steps_key,
    events_key,
    image_users_key,
    owner_fingerprints_key,
    owner_jobs_key,
    owner_label_key,
    owner_queued_key,
    owner_running_key,
    owner_waiting_key,
    record_key,
    rq_job_key,
    snapshot_key,
    turn_ends_key,
    turns_key,
    turns_now_key,
    usage_key,
    waiting_key,
    webhook_dead_key,
    webhook_delivery_key,
    webhook_events_key,
    webhook_health_key,
    webhook_lane_key,
    webhook_log_key,
    webhook_pending_key,
)

EVENTS_MAX = 512
"""About how many events of one job are kept."""
EVENTS_TTL_S = 3600
"""How long the events of a finished job are kept at most; they contain previews, which are large."""

USAGE_TTL_S = 400 * 24 * 3600
"""How long the usage of a day or a month is kept: more than a year, so that a year can be compared with the last."""

SWEEP_EVERY_S = 60
"""How often each gateway removes what is kept long enough."""

OWNER_JOBS_MAX = 10_000
"""How many jobs of one owner can be listed; the oldest are dropped from the list when it is trimmed."""
SEARCHED_MAX = 100_000
"""How many jobs of one owner can be searched for images; the oldest ones are left out when there are more."""
IDEMPOTENCY_TTL_S = 24 * 3600

SNAPSHOT_TTL_S = 24 * 3600
"""How long a snapshot waits for a worker that goes on with it; after that the job begins again."""
AGENT_TTL_S = 7 * 24 * 3600
"""How long the steps of an agent job wait for a worker that goes on with it."""
START_TIMEOUT, CANCEL_AFTER = "start_timeout", "cancel_after"
"""The codes of jobs that ended because of ``start_within_s`` and ``cancel_after_s``."""
_PACE_TTL_S = 30 * 24 * 3600
"""How long it is known how fast models are: longer than a server without work has no worker."""
_DELETED_TTL_S = 60
"""How long the record of a job that was deleted while it ran outlives its end, unseen, for the line in the log."""

WEBHOOK_PROGRESS_EVERY_S = 2.0
"""How often the progress of one job is announced to webhooks, at most."""
WEBHOOKS_PENDING_MAX = 10_000
"""How many deliveries of one key may wait; further ones are left out, except those that tell the end of a job."""
WEBHOOKS_DEAD_MAX = 1_000
"""How many deliveries of one key that were given up are kept."""
WEBHOOK_LOG_MAX = 50
"""How many attempts at each receiver are kept."""
_LANES_PER_TARGET = 2
"""How many deliveries one receiver gets at the same time."""
_PAUSE_S, _PAUSE_MAX_S = 5, 300
"""How long a receiver is left alone after a failed attempt; it doubles up to the second number."""
_DELIVERY_KEPT_S = 7 * 24 * 3600
_HEALTH_TTL_S = 30 * 24 * 3600

_OUTBOX = f"""\
local LANES_KEY, LANE_LEASES_KEY = '{WEBHOOK_LANES_KEY}', '{WEBHOOK_LEASES_KEY}'
local WAKE_SENDER_KEY, LANES_PER_TARGET = '{WEBHOOK_WAKE_KEY}', {_LANES_PER_TARGET}
local LANE_KEY, DELIVERY_KEY = '{webhook_lane_key("%s")}', '{webhook_delivery_key("%s")}'
local PENDING_KEY, DEAD_KEY = '{webhook_pending_key("%s")}', '{webhook_dead_key("%s")}'
local HEALTH_KEY, LOG_KEY = '{webhook_health_key("%s", "%s")}', '{webhook_log_key("%s", "%s")}'
local PENDING_MAX, DEAD_MAX, LOG_MAX = {WEBHOOKS_PENDING_MAX}, {WEBHOOKS_DEAD_MAX}, {WEBHOOK_LOG_MAX}
local PAUSE_S, PAUSE_MAX_S, KEPT_S, HEALTH_TTL_S = {_PAUSE_S}, {_PAUSE_MAX_S}, {_DELIVERY_KEPT_S}, {_HEALTH_TTL_S}
"""

_CONSTANTS = f"""\
local WAKE_CHANNEL, CANCEL_CHANNEL = '{WAKE_CHANNEL}', '{CANCEL_CHANNEL}'
local EVENTS_MAX, EVENTS_TTL_S = {EVENTS_MAX}, {EVENTS_TTL_S}
local OWNER_QUEUED_KEY, OWNER_RUNNING_KEY = '{owner_queued_key("%s")}', '{owner_running_key("%s")}'
local RETENTION_KEY = '{RETENTION_KEY}'
local USAGE_KEY = '{usage_key("%s", "%s")}'
local SNAPSHOT_KEY, SNAPSHOT_TTL_S = '{snapshot_key("%s")}', {SNAPSHOT_TTL_S}
local AGENT_STEPS_KEY, AGENT_SPENT_KEY = '{agent_steps_key("%s")}', '{agent_spent_key("%s")}'
local AGENT_INPUTS_KEY, AGENT_TTL_S = '{agent_inputs_key("%s")}', {AGENT_TTL_S}
local SUBSCRIPTIONS_KEY, PROGRESS_EVERY_S = '{webhook_events_key("%s")}', {WEBHOOK_PROGRESS_EVERY_S}
local OWNER_JOBS_KEY, OWNER_LABEL_KEY = '{owner_jobs_key("%s")}', '{owner_label_key("%s", "%s")}'
local OWNER_FINGERPRINTS_KEY, SEARCHED_MAX = '{owner_fingerprints_key("%s")}', {SEARCHED_MAX}
local IMAGE_USERS_KEY, JOB_IS_DELETED = '{image_users_key("%s")}', '{JOB_IS_DELETED}'
local DUE_KEY, DELETED_TTL_S = '{DUE_KEY}', {_DELETED_TTL_S}
local RECORD_KEY = '{record_key("%s")}'
local START_TIMEOUT, CANCEL_AFTER = '{START_TIMEOUT}', '{CANCEL_AFTER}'
"""
_QUEUED_WORK = f"local QUEUED_JOBS_KEY, QUEUED_WORK_KEY = '{QUEUED_JOBS_KEY}', '{QUEUED_WORK_KEY}'\n"
_STORED = f"local STORED_KEY, STORED_BYTES_KEY = '{STORED_KEY}', '{STORED_BYTES_KEY}'\n"
_ADMITTING = f"""\
local RECORD_KEY, EVENTS_KEY, STEP_PX_PER_UNIT = '{record_key("%s")}', '{events_key("%s")}', {STEP_PX_PER_UNIT}
local OWNER_JOBS_KEY, OWNER_LABEL_KEY = '{owner_jobs_key("%s")}', '{owner_label_key("%s", "%s")}'
local IMAGE_USERS_KEY, DUE_KEY, LEASES_KEY = '{image_users_key("%s")}', '{DUE_KEY}', '{LEASES_KEY}'
local USAGE_TTL_S, IDEMPOTENCY_TTL_S, OWNER_JOBS_MAX = {USAGE_TTL_S}, {IDEMPOTENCY_TTL_S}, {OWNER_JOBS_MAX}
local RQ_QUEUES_KEY, STORED_BYTES_KEY, SWEEP_EVERY_S = '{RQ_QUEUES_KEY}', '{STORED_BYTES_KEY}', {SWEEP_EVERY_S}
"""
_TURNS = f"""\
local DIFFUSION_QUEUE, RQ_JOB_KEY = '{DIFFUSION_QUEUE}', '{rq_job_key("%s")}'
local WAITING_KEY, OWNER_WAITING_KEY = '{waiting_key()}', '{owner_waiting_key("%s")}'
local TURNS_KEY, TURN_ENDS_KEY, TURNS_NOW_KEY = '{turns_key()}', '{turn_ends_key()}', '{turns_now_key()}'
"""


def admit() -> str:
    """The intake accepts a job, unless an earlier one has its id or its idempotency key, or a limit forbids it.

    KEYS: record, RQ's list, jobs of the queue that wait for a fetch, jobs of the owner that wait, those that run, the
    owner's requests, its usage of the day and of the month, and the idempotency key if there is one. ARGV: a JSON
    object (``service.backbone.admission.Offer`` makes it, and ``Intake`` adds ``queue_max``, how many jobs the queue
    may hold, ``listed_s`` and ``delivery``), and the field ``data`` of RQ's record, which is not text. Returns
    ``accepted`` and, for each limit, its name, how much of it is left and the seconds until all of it is again;
    ``earlier`` and the hash of the earlier record; ``full``; ``refused``, the name of the limit, how much of it is left
    and the seconds until there is more; or ``skipped``: the object names as ``leader`` the record of another job, which
    was not accepted. With ``dry_run`` the script counts the request and changes nothing else.
    """
    return _ADMITTING + _queued_work() + _turns_script("admit")


def take() -> str:
    """A worker takes the next job: one of RQ's list, or else one of the owner whose turn it is.

    KEYS: RQ's list, intermediate list. ARGV: the name of the queue, and optionally a JSON object whose keys are owners
    of whom no job is taken. Returns the id, which is in the intermediate list now, or nil.
    """
    return f"local RECORD_KEY = '{record_key('%s')}'\n" + _turns_script("take")


def place() -> str:
    """Where jobs are among those that wait for their turn.

    ARGV: the name of the queue, and the owner and the id of each job. Returns for each job how many are taken before
    it, and about how much work these are in pixels times steps; both are 0 for a job that does not wait for its turn.
    Only 32 owners are looked at.
    """
    return f"local RECORD_KEY = '{record_key('%s')}'\n" + _turns_script("place")


def note_pace() -> str:
    """Add numbers to moving averages.

    KEYS: the hash of averages. ARGV: names and new numbers.
    """
    return f"local PACE_TTL_S = {_PACE_TTL_S}\n" + _turns_script("note_pace")


def release() -> str:
    """Move the job whose turn it is to RQ's list, if that is empty, because a worker may wait there.

    KEYS: RQ's list. ARGV: the name of the queue.
    """
    return _turns_script("release")


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


def keep_step() -> str:
    """A worker keeps a step of an agent job, once: a step of this name that is kept already stays.

    ARGV[3:]: execution id, name of the step, the step as JSON. Returns 1, or 0 if the job is no longer this
    execution's.
    """
    return _record_script("keep_step")


def spend() -> str:
    """A worker takes what a step of an agent job will use from the job's budget, once for each step.

    ARGV[3:]: execution id, name of the step, then three times: what is used, how much, and the most of it in the job:
    ``steps``, ``images``, ``step_px``. Returns ``go``, or what is used up, or ``over`` if the job is no longer this
    execution's.
    """
    return _record_script("spend")


def ask() -> str:
    """A worker notes what an agent job asks a person.

    ARGV[3:]: execution id, the question as JSON. Returns 1, or 0 if the job is no longer this execution's.
    """
    return _record_script("ask")


def tell() -> str:
    """A person tells an agent job something, which answers its question if it has one.

    ARGV[3:]: the id of the question, or an empty text, what is told as JSON, the most of that. Returns ``told``,
    ``over`` if the job has ended, ``other`` if it does not ask that question now, or ``full``.
    """
    return _record_script("tell")


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
    """Delete a job for good, with its events; one that runs is hidden and canceled, and goes when it ends.

    ARGV[3:]: the owner that the job must have, then names of fields. Returns ``running`` or ``ended``, the names of the
    objects that are to be removed now (``Retention`` does so too), and of a job that waited until now these fields; or
    nil if there is no such job.
    """
    return _record_script("delete")


def drop_image() -> str:
    """Take an image out of the results of a job.

    ARGV[3]: owner, id of the image. Returns the names of the objects that are to be removed now, as :func:`delete`; nil
    if the owner has no such job, or the job no such image.
    """
    return _record_script("drop_image")


def forget_stored() -> str:
    """Count objects no longer as stored; those that are not counted change nothing.

    ARGV: names of objects, as ``RETENTION_KEY`` has them.
    """
    return _STORED + _load("stored") + _load("forget_stored")


def recount() -> str:
    """Count the results of a job that ended before results were counted; what is counted stays as it is.

    ARGV[3]: a JSON object, ids of its images and files that are stored to their sizes in bytes.
    """
    return _record_script("recount")


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


def webhook_claim() -> str:
    """A sender takes the lane of webhook deliveries that is due longest, for one attempt at its first delivery.

    ARGV: time, end of the lease, a JSON object whose keys are the owners that must wait. Returns the lane, the id of
    the delivery and its hash, or nil if nothing is due.
    """
    return _outbox_script("webhook_claim")


def webhook_settle() -> str:
    """A sender writes how an attempt went, and gives its lane back.

    ARGV: time, lane, id of the delivery, id of the message that was sent, outcome (``delivered``, ``pending``: to be
    tried again, ``dead``, ``dropped``), time of the next attempt, the attempt as JSON or an empty string if none was
    made, for how long the receiver wants to be left alone. Returns since when the receiver fails, or nil.
    """
    return _outbox_script("webhook_settle")


def webhook_replay() -> str:
    """A client has a delivery sent again.

    ARGV: time, owner, id of the delivery. Returns 0 if the owner has no such delivery.
    """
    return _outbox_script("webhook_replay")


def webhook_test() -> str:
    """A client has a test event sent to an endpoint.

    ARGV: time, owner, endpoint, a new id. Returns the id of the delivery.
    """
    return _outbox_script("webhook_test")


def _record_script(name: str) -> str:
    outbox, record = _OUTBOX + _load("outbox"), _turns_script("record")
    return _CONSTANTS + _queued_work() + _STORED + _load("stored") + outbox + record + _load(name)


def _outbox_script(name: str) -> str:
    return _OUTBOX + _load("outbox") + _load(name)


def _turns_script(name: str) -> str:
    return _TURNS + _load("turns") + _load(name)


def _queued_work() -> str:
    """What counts the work that waits, for scripts that let jobs wait or wait no longer."""
    return _QUEUED_WORK + _load("queued_work")


@cache
def _load(name: str) -> str:
    return files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")

"""Every Redis key and channel of Photogram: its name, type, writer, expiry and purpose.

No other module spells a key. ``TTL`` in the table is the setting ``PHOTOGRAM_RECORD_TTL_S``.

| key or channel | type | written by | expires | holds |
| --- | --- | --- | --- | --- |
| ``photogram:job:<id>`` | hash | intake, then the worker | ``TTL`` after the end of the job | the job's record |
| ``photogram:job:<id>:events`` | stream | intake, then the worker | 1 h after the end | status, progress, previews |
| ``photogram:job:<id>:watched`` | string | gateway | 20 s | shows that a client watches the job's previews |
| ``photogram:job:<id>:agent:steps`` | hash | workers | 7 d, or the end of the job | what an agent job has done |
| ``photogram:job:<id>:agent:spent`` | hash | workers | as its steps | what an agent job has used of its budget |
| ``photogram:job:<id>:agent:inputs`` | list | gateway | as its steps | what people told an agent job |
| ``photogram:job:<id>:snapshot`` | string | workers | 24 h, or the end of the job | what is drawn of the job so far |
| ``photogram:owner:<owner>:jobs`` | sorted set | intake | ``TTL`` after the last new job | job ids by ``created_at`` |
| ``photogram:idempotency:<owner>:<sha256>`` | string | intake | 24 h | the job id of an ``Idempotency-Key`` |
| ``photogram:wake`` | channel | intake, ledger scripts | | the id of every job that changed |
| ``photogram:cancel`` | channel | the cancel script | | the id of every running job that must stop |
| ``photogram:leases`` | sorted set | intake, gateways | members by workers | job ids by the end of their leases |
| ``photogram:due`` | sorted set | intake | members by gateways, ledger scripts | deadlines of jobs, by time |
| ``photogram:owner:<owner>:label:<digest>`` | sorted set | intake | as ``:jobs`` | job ids with a label, likewise |
| ``photogram:owner:<owner>:fingerprints`` | sorted set | ledger scripts | ``TTL`` after the last | searchable jobs |
| ``photogram:image:<id>:users`` | set | intake, ledger scripts | twice ``TTL`` | ids of jobs that start from it |
| ``photogram:workers`` | sorted set | worker heartbeats | members after 1 h | worker names by last heartbeat |
| ``photogram:workers:loaded`` | hash | worker heartbeats | fields after 1 min | ``WorkerStatus`` by worker name |
| ``photogram:aside`` | sorted set | workers | members after 3 s | deferred jobs by the time of deferral |
| ``photogram:fetches`` | sorted set | workers | never | jobs that wait until their images can be fetched |
| ``photogram:fetches:owners`` | sorted set | workers | never | whose jobs these are, by when one was last taken |
| ``photogram:waiting`` | hash | intake, ledger scripts, workers | never | jobs that wait for their turn: id to charge |
| ``photogram:owner:<owner>:waiting`` | sorted set | intake, ledger scripts, workers | never | these of one owner |
| ``photogram:turns`` | sorted set | intake, ledger scripts, workers | never | owners of these by virtual time |
| ``photogram:turns:ends`` | sorted set | intake, ledger scripts, workers | never | owners with none by virtual time |
| ``photogram:turns:now`` | string | workers | never | the virtual time of the queue |
| ``photogram:pace`` | hash | workers | 30 d after the last job | average seconds of jobs, by model and size |
| ``photogram:maintenance`` | string | workers | 5 s | the lock of queue maintenance |
| ``photogram:model-problems`` | hash | workers | never; fields on success | why a model cannot be loaded, by model |
| ``photogram:model-backends`` | hash | workers | never | the backend that runs a model, by model |
| ``photogram:owner:<owner>:queued`` | set | intake, ledger scripts | never | ids of the owner's jobs that wait |
| ``photogram:owner:<owner>:running`` | set | ledger scripts | never | ids of the owner's jobs that run |
| ``photogram:owner:<owner>:requests`` | hash | intake | 1 min | token bucket of submitting requests |
| ``photogram:usage:<owner>:<period>`` | hash | intake, ledger scripts | 400 d | jobs, work and outcomes in a period |
| ``photogram:queued:jobs`` | hash | intake, ledger scripts | never | how many jobs wait, by kind and model |
| ``photogram:queued:work`` | hash | intake, ledger scripts | never | their pixels times steps |
| ``photogram:worker:<name>:metrics`` | string | the worker | 30 s | the worker's metrics as JSON |
| ``photogram:keys`` | hash | key store | never | secrets of API keys: SHA-256 to JSON |
| ``photogram:keys:records`` | hash | key store | never | API keys: id to JSON |
| ``photogram:keys:used`` | hash | gateways, at most once a minute | never | when an API key was last used, by id |
| ``photogram:preferences:<owner>`` | hash | gateway | never | preferences of an API key |
| ``photogram:callers:<owner>:options`` | string | gateway (sdapi) | 30 d after use | A1111 options as JSON |
| ``photogram:callers:<owner>:calls`` | hash | gateway (sdapi) | 24 h after the last | running calls by first job id |
| ``photogram:callers:<owner>:ended`` | list | gateway (sdapi) | 24 h after the last | the last 16 task ids |
| ``photogram:owner:<owner>:webhooks`` | hash | gateway | never | webhook endpoints: id to JSON |
| ``photogram:owner:<owner>:webhooks:events`` | hash | gateway, senders | never | events of endpoints that are on |
| ``photogram:owner:<owner>:webhooks:secrets`` | string | gateway | never | signing secrets as JSON |
| ``photogram:owner:<owner>:webhooks:pending`` | sorted set | outbox scripts | never | ids of waiting deliveries |
| ``photogram:owner:<owner>:webhooks:dead`` | sorted set | outbox scripts | never | ids of deliveries given up |
| ``photogram:owner:<owner>:webhooks:health:<target>`` | hash | outbox scripts | 30 d | failures of a receiver |
| ``photogram:owner:<owner>:webhooks:log:<target>`` | list | outbox scripts | 30 d | the last attempts at a receiver |
| ``photogram:webhooks:delivery:<id>`` | hash | outbox scripts | 7 d after the end | one event for one receiver |
| ``photogram:webhooks:lane:<lane>`` | sorted set | outbox scripts | never | deliveries by time of the next attempt |
| ``photogram:webhooks:lanes`` | sorted set | outbox scripts | never | lanes by time of the next attempt |
| ``photogram:webhooks:leases`` | sorted set | outbox scripts | members after 60 s | lanes that a sender holds |
| ``photogram:webhooks:wake`` | list | outbox scripts | never | wakes a sender |
| ``photogram:provenance`` | hash | gateways, workers | never | the pair that signs images, if the server made it |
| ``photogram:retention`` | sorted set | ledger scripts | members by gateways | results by when they are to be removed |
| ``photogram:retention:lease`` | string, a lock | gateways | 5 min | the gateway that removes old files now |
| ``photogram:retention:cursors`` | hash | gateways | never | where the next pass over a store begins |
| ``photogram:stored`` | hash | ledger scripts, gateways | never | results that are counted: size and owner by name |
| ``photogram:stored:bytes`` | hash | ledger scripts, gateways | never | the sum of these sizes, by owner |
| ``photogram:write-probe`` | string | gateways, starting workers | 60 s | shows that Redis accepts writes |
| ``photogram:rewrite:<sha256>`` | string | gateway, workers | 7 d after use | a cached prompt rewrite as JSON |

The keys ``workers``, ``workers:loaded``, ``aside``, ``fetches``, ``fetches:owners``, ``maintenance``, ``waiting``,
``owner:<owner>:waiting``, ``turns``, ``turns:ends``, ``turns:now`` and ``pace`` belong to the diffusion queue; the same
keys of any other queue end in ``:queue:<queue>``.

RQ owns these keys; Photogram touches them through RQ, except for the two lists, which it also moves ids between:

| key | type | expires | holds |
| --- | --- | --- | --- |
| ``rq:queue:<queue>`` | list | never | ids of jobs that need not wait for their turn; workers take them from the left |
| ``rq:queue:<queue>:intermediate`` | list | never | ids that were popped and not yet registered as started |
| ``rq:queues`` | set | never | the keys of all queues |
| ``rq:job:<id>`` | hash | 60 s after the end | RQ's own record of a delivery |
| ``rq:executions:<id>``, ``rq:execution:<id>:<execution>`` | sorted set, hash | 7 s after a heartbeat | executions |
| ``rq:wip:<queue>`` | sorted set | by score | started executions; an expired one is delivered again |
| ``rq:worker:<name>``, ``rq:workers`` | hash, set | 120 s after a heartbeat | RQ's worker registry |
| ``rq:pubsub:<name>`` | channel | | RQ's commands to one worker |
"""

from __future__ import annotations

from models.jobs.kinds import DIFFUSION_QUEUE

WAKE_CHANNEL = "photogram:wake"
"""Channel. The ledger scripts publish the id of every job that changed; gateways wake its waiters."""

CANCEL_CHANNEL = "photogram:cancel"
"""Channel. The cancel script publishes the id of every running job that must stop; workers listen."""

MODEL_PROBLEMS_KEY = "photogram:model-problems"
"""Hash, model name to message. Workers write it when a model cannot be loaded and delete the field when it can."""

MODEL_BACKENDS_KEY = "photogram:model-backends"
"""Hash, model name to JSON with ``backend`` and ``relative_error``. Workers write it when they load a model."""

QUEUED_JOBS_KEY = "photogram:queued:jobs"
"""Hash, ``<kind>\\n<model>`` to how many such jobs wait. Intake and the ledger scripts write it; fields leave at 0."""

QUEUED_WORK_KEY = "photogram:queued:work"
"""Hash, the same fields to the work of these jobs in pixels times steps."""

LEASES_KEY = "photogram:leases"
"""Sorted set, job id by the time its lease ends. Intake adds the jobs of synchronous calls, the gateway that waits for
them renews and removes them, and workers cancel the jobs whose leases ended. Other jobs have no lease."""

DUE_KEY = "photogram:due"
"""Sorted set, ``<event>\\n<job id>`` by time: ``start`` and ``end`` are deadlines of a job. Intake adds members;
``service.backbone.due`` handles them, and the ledger scripts remove those of jobs that have ended."""

RQ_QUEUES_KEY = "rq:queues"
"""Set of RQ. The keys of the lists of all queues; the intake adds those that it fills."""

JOB_IS_DELETED = "!deleted"
"""A member of :func:`image_users_key`, and no id of a job: the image's own job was deleted, so that the image goes with
the last job that starts from it."""

API_KEYS_KEY = "photogram:keys"
"""Hash, SHA-256 of an API key's secret to JSON: ``id``, and ``until`` once it is replaced. Never expires."""

KEY_RECORDS_KEY = "photogram:keys:records"
"""Hash, id of an API key to its record as JSON (``service.backbone.key_records``). Never expires."""

KEYS_USED_KEY = "photogram:keys:used"
"""Hash, id of an API key to the time of its last use. Gateways write it at most once a minute for a key."""

WEBHOOK_LANES_KEY = "photogram:webhooks:lanes"
"""Sorted set, lane of webhook deliveries by the time of its next attempt. The outbox scripts write it."""

WEBHOOK_LEASES_KEY = "photogram:webhooks:leases"
"""Sorted set, lane of webhook deliveries that a sender holds by the end of its lease. The outbox scripts write it."""

WEBHOOK_WAKE_KEY = "photogram:webhooks:wake"
"""List of at most one element, which wakes one waiting sender of webhooks. The outbox scripts push it."""

RETENTION_KEY = "photogram:retention"
"""Sorted set, ``images/<name>`` or ``files/<name>`` by the time from which it may be removed. The ledger scripts add
the results of jobs that have a time; gateways remove them."""

RETENTION_LEASE_KEY = "photogram:retention:lease"
"""String, a lock. The gateway that removes old files now; expires after 5 minutes."""

RETENTION_CURSORS_KEY = "photogram:retention:cursors"
"""Hash, kind of a store to the last name that a pass over it has looked at."""

SIGNING_PAIR_KEY = "photogram:provenance"
"""Hash, ``certificate`` and ``key`` as PEM text. The first gateway or worker that makes a pair writes it for all."""

STORED_KEY = "photogram:stored"
"""Hash, ``images/<name>`` or ``files/<name>`` to ``<bytes> <owner>``. The ledger scripts add the results of a job when
it ends, and what lets a result be removed removes its field."""

STORED_BYTES_KEY = "photogram:stored:bytes"
"""Hash, owner to the sum of the bytes in :data:`STORED_KEY`; the same scripts write it."""

WRITE_PROBE_KEY = "photogram:write-probe"
"""String. Gateways and starting workers write it to see whether Redis accepts writes; expires after 60 s."""
WRITE_PROBE_TTL_S = 60


def record_key(job_id: str) -> str:
    """Hash. The job's record: intake, then the ledger scripts write it; expires ``record_ttl_s`` after the end."""
    return f"photogram:job:{job_id}"


def events_key(job_id: str) -> str:
    """Stream, capped. The job's events: ``kind`` and ``data``; expires at most one hour after the end of the job."""
    return f"photogram:job:{job_id}:events"


def watched_key(job_id: str) -> str:
    """String. Exists while a client watches the previews of the job; the gateway writes it, and it expires soon."""
    return f"photogram:job:{job_id}:watched"


def agent_steps_key(job_id: str) -> str:
    """Hash. The recorded steps of an agent job by name, as JSON; its worker writes them, the end deletes them."""
    return f"photogram:job:{job_id}:agent:steps"


def agent_spent_key(job_id: str) -> str:
    """Hash. What an agent job has used of its budget, and by which steps; written and deleted as its steps."""
    return f"photogram:job:{job_id}:agent:spent"


def agent_inputs_key(job_id: str) -> str:
    """List. What people told an agent job, as JSON, in order; gateways append, the end deletes it."""
    return f"photogram:job:{job_id}:agent:inputs"


def snapshot_key(job_id: str) -> str:
    """String. What is drawn of the job (``models.diffusion.snapshots``); its worker writes it, the end deletes it."""
    return f"photogram:job:{job_id}:snapshot"


def owner_jobs_key(owner: str) -> str:
    """Sorted set. The owner's job ids by ``created_at``; intake writes and trims it, and renews its expiry."""
    return f"photogram:owner:{owner}:jobs"


def owner_label_key(owner: str, digest: str) -> str:
    """Sorted set. As :func:`owner_jobs_key`, the jobs with the label of this SHA-1."""
    return f"photogram:owner:{owner}:label:{digest}"


def owner_fingerprints_key(owner: str) -> str:
    """Sorted set. Ids of the owner's jobs whose images can be searched, by the time of their end.

    The end of a job writes and trims it, and renews its expiry.
    """
    return f"photogram:owner:{owner}:fingerprints"


def image_users_key(image_id: str) -> str:
    """Set. Ids of the jobs that start from an image of another job; intake writes it and renews its expiry."""
    return f"photogram:image:{image_id}:users"


def owner_queued_key(owner: str) -> str:
    """Set. Ids of the owner's jobs that wait; intake and the ledger scripts write it."""
    return f"photogram:owner:{owner}:queued"


def owner_running_key(owner: str) -> str:
    """Set. Ids of the owner's jobs that run; the ledger scripts write it."""
    return f"photogram:owner:{owner}:running"


def owner_requests_key(owner: str) -> str:
    """Hash, ``left`` and ``at``. The owner's token bucket of requests that submit jobs; intake writes it for 60 s."""
    return f"photogram:owner:{owner}:requests"


def usage_key(owner: str, period: str) -> str:
    """Hash. Jobs, their work and their outcomes in a day (2026-11-27) or month (2026-11); kept for 400 days."""
    return f"photogram:usage:{owner}:{period}"


def idempotency_key(owner: str, digest: str) -> str:
    """String. The job id that an owner's ``Idempotency-Key`` of this SHA-256 belongs to; intake writes it for 24 h."""
    return f"photogram:idempotency:{owner}:{digest}"


def worker_metrics_key(name: str) -> str:
    """String, JSON. The metrics of a worker, which writes them every few seconds; expires after 30 s."""
    return f"photogram:worker:{name}:metrics"


def workers_key(queue: str = DIFFUSION_QUEUE) -> str:
    """Sorted set. Names of the queue's workers by the time of their last heartbeat; each worker writes its own."""
    return _of_queue("photogram:workers", queue)


def worker_status_key(queue: str = DIFFUSION_QUEUE) -> str:
    """Hash, worker name to ``WorkerStatus`` as JSON. Each worker writes its own field and deletes it at sign-off."""
    return _of_queue("photogram:workers:loaded", queue)


def deferred_key(queue: str = DIFFUSION_QUEUE) -> str:
    """Sorted set. ``<model>\\n<job id>`` by time of deferral; workers add and claim members, or requeue them."""
    return _of_queue("photogram:aside", queue)


def fetches_key(queue: str = DIFFUSION_QUEUE) -> str:
    """Sorted set, all scores 0. Jobs that wait for a fetch, as ``<owner>\\n<time>\\n<hosts>\\n<job id>``; by workers.

    The time has 17 characters, so that the members of an owner are in its order.
    """
    return _of_queue("photogram:fetches", queue)


def fetch_owners_key(queue: str = DIFFUSION_QUEUE) -> str:
    """Sorted set. The owners in :func:`fetches_key` by the time at which a job of theirs was taken; by workers."""
    return _of_queue("photogram:fetches:owners", queue)


def waiting_key(queue: str = DIFFUSION_QUEUE) -> str:
    """Hash, job id to charge. The jobs that wait for their turn (``scripts/turns.lua``), and by how much each moves its
    owner back."""
    return _of_queue("photogram:waiting", queue)


def owner_waiting_key(owner: str, queue: str = DIFFUSION_QUEUE) -> str:
    """Sorted set. The owner's job ids in :func:`waiting_key` by rank; the lowest goes first."""
    return _of_queue(f"photogram:owner:{owner}:waiting", queue)


def turns_key(queue: str = DIFFUSION_QUEUE) -> str:
    """Sorted set. The owners of the jobs in :func:`waiting_key` by virtual time; the lowest has the next turn."""
    return _of_queue("photogram:turns", queue)


def turn_ends_key(queue: str = DIFFUSION_QUEUE) -> str:
    """Sorted set. Owners without waiting jobs by virtual time, for as long as that is ahead of the queue's."""
    return _of_queue("photogram:turns:ends", queue)


def turns_now_key(queue: str = DIFFUSION_QUEUE) -> str:
    """String. The virtual time of the queue: that of the owner who had the last turn; gone once no job waits."""
    return _of_queue("photogram:turns:now", queue)


def pace_key(queue: str = DIFFUSION_QUEUE) -> str:
    """Hash. What jobs took lately, in seconds of a worker (``service.backbone.places``); kept for 30 days."""
    return _of_queue("photogram:pace", queue)


def maintenance_key(queue: str = DIFFUSION_QUEUE) -> str:
    """String, a lock. The name of the worker that maintains the queue now; expires after 5 s."""
    return _of_queue("photogram:maintenance", queue)


def _of_queue(key: str, queue: str) -> str:
    """``key`` for ``queue``; the diffusion queue has the bare names, which are older than other queues."""
    return key if queue == DIFFUSION_QUEUE else f"{key}:queue:{queue}"


def preferences_key(owner: str) -> str:
    """Hash, preference to ``0``, ``1`` or a word. The gateway writes it; it never expires."""
    return f"photogram:preferences:{owner}"


def caller_options_key(owner: str) -> str:
    """String, JSON. Options of an A1111 client; the gateway writes it; expires 30 days after the last use."""
    return f"photogram:callers:{owner}:options"


def calls_key(owner: str) -> str:
    """Hash, first job id to a call as JSON. Running calls; the gateway writes it; expires 24 h after the last call."""
    return f"photogram:callers:{owner}:calls"


def ended_calls_key(owner: str) -> str:
    """List. Task ids of the last calls that ended, the newest first; the gateway writes it; expires after 24 h."""
    return f"photogram:callers:{owner}:ended"


def webhook_endpoints_key(owner: str) -> str:
    """Hash, id of a webhook endpoint to JSON. The gateway writes it; it never expires."""
    return f"photogram:owner:{owner}:webhooks"


def webhook_events_key(owner: str) -> str:
    """Hash, id of an endpoint that is on to its events, each between spaces. Gateways and senders write it."""
    return f"photogram:owner:{owner}:webhooks:events"


def webhook_secrets_key(owner: str) -> str:
    """String, JSON. The signing secrets of the owner's webhooks; the gateway writes it; it never expires."""
    return f"photogram:owner:{owner}:webhooks:secrets"


def webhook_pending_key(owner: str) -> str:
    """Sorted set. Ids of the owner's deliveries that wait, by when they were queued; the outbox scripts write it."""
    return f"photogram:owner:{owner}:webhooks:pending"


def webhook_dead_key(owner: str) -> str:
    """Sorted set. Ids of the owner's deliveries that were given up, by that time; the outbox scripts write it."""
    return f"photogram:owner:{owner}:webhooks:dead"


def webhook_health_key(owner: str, target: str) -> str:
    """Hash. How a receiver fares, and why it was switched off; expires 30 days after the last attempt."""
    return f"photogram:owner:{owner}:webhooks:health:{target}"


def webhook_log_key(owner: str, target: str) -> str:
    """List, JSON. The last attempts at a receiver, the newest first; expires 30 days after the last one."""
    return f"photogram:owner:{owner}:webhooks:log:{target}"


def webhook_delivery_key(delivery_id: str) -> str:
    """Hash. One event for one receiver; the outbox scripts write it; expires 7 days after its end."""
    return f"photogram:webhooks:delivery:{delivery_id}"


def webhook_lane_key(lane: str) -> str:
    """Sorted set. Ids of deliveries by the time of their next attempt; the outbox scripts write it."""
    return f"photogram:webhooks:lane:{lane}"


def rewrite_key(digest: str) -> str:
    """String, JSON. A cached rewrite; gateway and workers write it; expires 7 days after the last use."""
    return f"photogram:rewrite:{digest}"


def rq_queue_key(queue: str = DIFFUSION_QUEUE) -> str:
    """List of RQ. Ids of jobs that any worker takes at once, from the left: one that came while no other waited, and
    those that are delivered again."""
    return f"rq:queue:{queue}"


def rq_intermediate_key(queue: str = DIFFUSION_QUEUE) -> str:
    """List of RQ. Ids that a worker popped from the queue and has not yet registered as started."""
    return f"{rq_queue_key(queue)}:intermediate"


def rq_started_key(queue: str = DIFFUSION_QUEUE) -> str:
    """Sorted set of RQ. The started executions of the queue by the time at which they expire."""
    return f"rq:wip:{queue}"


def rq_job_key(job_id: str) -> str:
    """Hash of RQ. Its record of a delivery; intake makes it, RQ lets it expire after the end of the job."""
    return f"rq:job:{job_id}"

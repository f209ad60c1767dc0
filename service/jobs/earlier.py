"""The earlier agent job that a replay names: the gateway refuses a replay without one, its worker reads the record."""

from __future__ import annotations

from models.errors import FieldProblem, InvalidTicket, PhotogramError, ProblemCode
from models.jobs.agents import AGENT, RECORD, AgentRequest
from models.jobs.kinds import UnknownKind
from models.jobs.params import JobRequest
from models.jobs.records import JOB_ID_PATTERN, JobStatus
from service.backbone.ledger import Ledger
from service.backbone.objects.protocol import StoredObject
from service.backbone.records import UnreadableRecord
from service.backbone.store import FileStore
from service.jobs.caller import Caller


class NotReplayable(PhotogramError):
    """The job cannot be run again; the message says why."""


def find_record(ledger: Ledger, files: FileStore, owner: str, job_id: str) -> StoredObject:
    """The file with the record of an agent job of ``owner`` that succeeded.

    Raises:
        NotReplayable.
    """
    try:
        record = ledger.read(job_id)
    except (UnknownKind, UnreadableRecord):  # written by another version
        record = None
    if record is None or record.owner != owner or record.kind != AGENT or record.status is not JobStatus.SUCCEEDED:
        raise NotReplayable("there is no such agent job of this API key that succeeded")
    file = next((each for each in record.files if each.name == RECORD), None)
    found = None if file is None else files.find(file.file_id)
    if found is None:
        raise NotReplayable("the record of that job is gone")
    return found


def require_replayable(ledger: Ledger, files: FileStore, caller: Caller, request: JobRequest) -> None:
    """Raise :class:`InvalidTicket` if ``request`` is a replay of what cannot be run again.

    An id that cannot be one of a job is left to the checks of the request itself.
    """
    if not isinstance(request, AgentRequest) or not JOB_ID_PATTERN.fullmatch(request.replay or ""):
        return
    try:
        find_record(ledger, files, caller.key_id, request.replay or "")
    except NotReplayable as error:
        raise InvalidTicket([FieldProblem("replay", str(error), ProblemCode.UNAVAILABLE)]) from error

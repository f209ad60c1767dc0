"""Who submits and reads jobs: the identity that every operation of the job service takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.jobs.cost import NO_LIMITS, CostLimits
from models.jobs.params import UNMARKED
from models.jobs.safety import OFF
from service.backbone.allowances import NO_LIMITS as NO_ALLOWANCE
from service.backbone.allowances import Allowance, Remainder
from service.backbone.key_records import KeyRecord, Scope
from service.backbone.settings import Settings


@dataclass(frozen=True)
class Caller:
    """The holder of one API key, or a part of the server that acts for one."""

    key_id: str
    """The public id of the key (``service.backbone.keys.owner_id``); a job belongs to the key that submitted it."""
    allowance: Allowance = NO_ALLOWANCE
    """The limits of this caller; a part of the server has none."""
    models: tuple[str, ...] = ()
    """The models that jobs of this caller may use, by their names in the catalog; none is any."""
    kinds: tuple[str, ...] = ()
    """The kinds of its jobs; none is any."""
    is_administrator: bool = False
    """Whether it may submit jobs that change what the jobs of all callers get."""
    max_priority: int | None = None
    """The highest priority of its jobs; ``None`` is any."""
    provenance: str = UNMARKED
    """The least that its images must carry, one of ``models.jobs.params.PROVENANCE``."""
    safety: str = OFF
    """The safety policy of its jobs, one of ``models.jobs.safety.SAFETY``."""
    webhooks: bool = True
    """Whether it may have webhooks."""
    retention_s: int | None = None
    """How long results of its jobs are kept; ``None`` is as long as the server keeps those of everybody."""
    weight: int = 1
    """Its share of the workers, compared with those of other callers whose jobs wait."""
    limits: CostLimits = NO_LIMITS
    """What jobs of this caller may cost, beside the limits of the server, which hold for everybody."""
    remainders: list[Remainder] = field(default_factory=list, compare=False)
    """What was left of its limits when a job was accepted for this caller; the job service writes it."""


def caller_of(record: KeyRecord, settings: Settings) -> Caller:
    """The holder of the key; what its rules leave open is the server's."""
    rules = record.rules
    return Caller(
        record.owner,
        allowance=rules.allowance.or_else(settings.key_allowance),
        models=rules.models,
        kinds=rules.kinds,
        is_administrator=Scope.ADMIN in rules.scopes,
        retention_s=rules.retention_s,
        max_priority=rules.max_priority,
        provenance=rules.provenance or settings.provenance,
        safety=rules.safety or settings.safety,
        webhooks=rules.webhooks,
        weight=rules.weight,
    )

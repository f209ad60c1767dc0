"""The listing of job types, which Prodia does not have."""

from __future__ import annotations

from fastapi import APIRouter

from models.catalog.catalog import Catalog
from models.catalog.families import DRAWN_KINDS
from service.api.prodia_v2.auth import BearerCaller
from service.api.prodia_v2.job_types import JOB_TYPES, PING, JobType, choose_model, type_problem
from service.api.prodia_v2.openapi import responses
from service.api.prodia_v2.schemas import TypeList, TypeView
from service.api.state import GatewayState

router = APIRouter(tags=["prodia v2"])


@router.get("/v2/types", operation_id="prodiaV2ListTypes", summary="List the job types", responses=responses(500, 503))
def list_types(gateway: GatewayState, caller: BearerCaller) -> TypeList:
    """Every job type that Photogram knows. `problem` says why this server cannot process a type."""
    catalog = gateway.catalog.current()
    return TypeList(types=[_type_view(each, catalog) for each in JOB_TYPES.values()])


def _type_view(job_type: JobType, catalog: Catalog) -> TypeView:
    problem = type_problem(job_type, catalog)
    needs_model = job_type.kind in DRAWN_KINDS and problem is None
    return TypeView(
        type=job_type.name,
        inputs=job_type.roles,
        model=(choose_model(job_type, None, catalog) or catalog.default) if needs_model else None,
        is_async=job_type.kind != PING,
        problem=problem,
    )

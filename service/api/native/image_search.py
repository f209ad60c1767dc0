"""The native routes that find images of an API key by what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from models.errors import FieldProblem, InvalidTicket, Problem, ProblemCode, UnreadableImage
from models.jobs.sources import IMAGE, INPUT
from models.jobs.vision import TEXT_MAX_CHARS, text_problem
from models.media.images import decode
from service.api.auth import CurrentCaller
from service.api.decoding import header_px
from service.api.errors import ApiError, ErrorCode, invalid_field
from service.api.images import base_url
from service.api.native.errors import SEARCHING_IMAGES
from service.api.native.schemas import LIST_MAX, JobFilters, OwnImageView
from service.api.native.views import own_image_view
from service.api.state import Gateway, GatewayState
from service.jobs.images import find_stored

if TYPE_CHECKING:
    from models.eyes.encoders import Vectors
    from service.backbone.image_search import FoundImage, ImageSearch

DISTANCE_MAX = 6

router = APIRouter(tags=["images"])


class SearchQuery(JobFilters):
    """What is searched for, and which images are looked at: those of jobs that pass every filter that is given."""

    text: str | None = Field(None, min_length=1, max_length=TEXT_MAX_CHARS, description="What the images should show.")
    image: str | None = Field(
        None, max_length=200, description="An image that they should look like: `input:<sha256>` or `image:<id>`."
    )
    like: str | None = Field(
        None,
        max_length=100,
        description="The id of an image of the API key, also as `image:<id>`; it is left out itself.",
    )
    limit: int = Field(20, ge=1, le=LIST_MAX, description="The most images to find.")
    min_similarity: float = Field(-1, ge=-1, le=1, allow_inf_nan=False, description="The least similarity.")


class DuplicatesQuery(BaseModel):
    """How near the images must be."""

    model_config = ConfigDict(extra="forbid")
    max_distance: int = Field(
        4, ge=0, le=DISTANCE_MAX, description="The most bits, of 64, in which the perceptual hashes may differ."
    )
    limit: int = Field(20, ge=1, le=LIST_MAX, description="The most groups to show.")


class FoundImageView(OwnImageView):
    """An image that was found."""

    similarity: float = Field(description="The cosine similarity, from -1 to 1.")
    prompt: str | None = Field(description="The prompt of its job, if it has one.")


class FoundImagesView(BaseModel):
    """The images that were found."""

    images: list[FoundImageView] = Field(description="The most similar image first.")


class DuplicateGroupView(BaseModel):
    """Images that are nearly equal."""

    count: int = Field(description="How many images there are in the group.")
    images: list[OwnImageView] = Field(description="The first of them, at most 50.")


class DuplicatesView(BaseModel):
    """Groups of near duplicates."""

    groups: list[DuplicateGroupView] = Field(description="The largest group first.")
    total: int = Field(description="How many groups there are.")
    is_complete: bool = Field(description="False if there were too many images to compare all of them.")


@router.get("/v1/images/search", operation_id="searchImages", summary="Find images", responses=SEARCHING_IMAGES)
async def search_images(
    request: Request, gateway: GatewayState, caller: CurrentCaller, query: Annotated[SearchQuery, Query()]
) -> FoundImagesView:
    """The images of the API key that show what `text` says, or that look like `image` or like the image `like`.

    The built-in vision model compares them: it knows simple drawings, and says little of photographs.
    """
    filters = query.to_query()
    vector = await _vector(gateway, caller.key_id, query)
    search = await _search(gateway)
    found = await search.nearest(
        caller.key_id, vector, filters, limit=query.limit, least=query.min_similarity, without=_id_of(query.like)
    )
    base = base_url(request, gateway)
    return FoundImagesView(images=[_found_view(each, base) for each in found])


@router.get(
    "/v1/images/duplicates",
    operation_id="listDuplicates",
    summary="Find images that are nearly equal",
    responses=SEARCHING_IMAGES,
)
async def list_duplicates(
    request: Request, gateway: GatewayState, caller: CurrentCaller, query: Annotated[DuplicatesQuery, Query()]
) -> DuplicatesView:
    """Groups of images of the API key whose perceptual hashes are nearly equal: copies, or of nearly equal jobs."""
    search = await _search(gateway)
    found = await search.duplicates(caller.key_id, query.max_distance, query.limit)
    base = base_url(request, gateway)
    groups = [
        DuplicateGroupView(count=group.count, images=[own_image_view(*each, base) for each in group.images])
        for group in found.groups
    ]
    return DuplicatesView(groups=groups, total=found.total, is_complete=found.is_complete)


def _found_view(found: FoundImage, base: str) -> FoundImageView:
    own = own_image_view(found.record, found.image, base)
    prompt = getattr(found.record.params, "prompt", None)
    return FoundImageView(**vars(own), similarity=round(found.similarity, 4), prompt=prompt)


async def _search(gateway: Gateway) -> ImageSearch:
    return await run_in_threadpool(gateway.image_search)


async def _vector(gateway: Gateway, owner: str, query: SearchQuery) -> Vectors:
    """The vector of what is searched for.

    Raises:
        InvalidTicket: not exactly one of the three is given, or the image cannot be used.
        ApiError: the key has no image ``like``.
    """
    given = [name for name in ("text", "image", "like") if getattr(query, name) is not None]
    if len(given) != 1:
        message = "exactly one of text, image and like must be given"
        code = ProblemCode.CONFLICT if given else ProblemCode.REQUIRED
        raise InvalidTicket([FieldProblem.of(name, Problem(message, code)) for name in given[1:] or ["text"]])
    if query.text is not None:
        problem = text_problem(query.text)
        if problem is not None:
            raise InvalidTicket([FieldProblem.of("text", problem)])
        return await (await _search(gateway)).vector_of_text(query.text)
    if query.image is not None:
        return await _vector_of_image(gateway, query.image)
    found = await (await _search(gateway)).known_vector(owner, _id_of(query.like) or "")
    if found is None:
        message = "the API key has no such image, or the server keeps nothing to find it by (PHOTOGRAM_SEARCH)"
        raise ApiError(ErrorCode.IMAGE_NOT_FOUND, message)
    return found


def _id_of(like: str | None) -> str | None:
    """The id of an image, which may be written as for jobs."""
    return like and like.removeprefix(IMAGE)


async def _vector_of_image(gateway: Gateway, source: str) -> Vectors:
    if not source.startswith((INPUT, IMAGE)):
        message = "must be input:<sha256> of an image sent to POST /v1/inputs, or image:<id>"
        raise invalid_field("image", message, ProblemCode.MALFORMED)
    data = await run_in_threadpool(_read, gateway, source)
    if data is None:
        raise invalid_field("image", "there is no such image, or it has expired", ProblemCode.UNKNOWN_NAME)
    try:
        search = await _search(gateway)
        return await gateway.decoding.run(header_px(data), lambda: search.vector_of_image(decode(data)))
    except UnreadableImage as error:
        raise invalid_field("image", str(error), ProblemCode.MALFORMED) from error


def _read(gateway: Gateway, source: str) -> bytes | None:
    stored = find_stored(source, gateway.stores.inputs, gateway.stores.images)
    try:
        if stored is None:
            return None
        with stored.open() as file:
            return file.read()
    except FileNotFoundError:  # it was removed this moment
        return None

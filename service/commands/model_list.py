"""The list of ``photogram models list``: what the catalog says, what lies on disk, and what the workers noted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from models.catalog.auxiliary import AuxiliaryModels
from models.catalog.catalog import EXTRAS, OFFLOADS, Catalog, ModelSpec
from models.catalog.vision import VISION, VisionModels
from models.downloads.space import in_words
from service.backbone.connections import connect
from service.backbone.model_notes import ModelNotes, read_notes
from service.backbone.running import RunningServer, running_server
from service.backbone.settings import Settings
from service.commands.model_downloads import bytes_in_words
from service.commands.model_entries import LINKED_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

    from models.diffusion.memory_plan import MemoryPlan
    from models.downloads.notes import DownloadState


def model_lines(settings: Settings) -> Iterator[str]:
    """One paragraph for each model, and a line that says which catalog it is and whether a server runs with it."""
    catalog, server = Catalog.load(settings.catalog_path), running_server(settings.data)
    notes = _notes(settings, server)
    for spec in catalog.values():
        yield from _paragraph(spec, notes, is_default=spec.name == catalog.default)
    for table in EXTRAS:
        yield from _auxiliary_lines(table, getattr(catalog, table))
    yield from _auxiliary_lines(VISION, catalog.vision)
    yield from _other_downloads(catalog, settings.catalog_path.parent / LINKED_FOLDER)
    runs = "no photogram up runs with this folder" if server is None else f"the server runs at {server.url}"
    yield f"{settings.catalog_path}: {runs}"


def _auxiliary_lines(table: str, models: AuxiliaryModels | VisionModels) -> Iterator[str]:
    """The names of the usable models of ``table`` in a line, and a line for each that cannot be used."""
    problems = {name: model.problem() for name, model in models.items()}
    usable = [name for name, problem in problems.items() if problem is None]
    if usable:
        yield f"{table}: {', '.join(usable)}"
    yield from (f"{table}: {name} CANNOT BE USED: {problem}" for name, problem in problems.items() if problem)


def _notes(settings: Settings, server: RunningServer | None) -> ModelNotes:
    """What the workers noted, if Redis is known and can be reached."""
    redis_url = settings.redis_url or (None if server is None else server.redis_url)
    if redis_url is None:
        return ModelNotes()
    try:
        with connect(redis_url, "photogram-models") as connection:
            return read_notes(connection)
    except RedisError as error:
        print(f"photogram models: Redis is not reachable: {error}", file=sys.stderr)
        return ModelNotes()


def _paragraph(spec: ModelSpec, notes: ModelNotes, *, is_default: bool) -> Iterator[str]:
    from models.diffusion.memory_plan import plan_of
    from models.downloads.download import is_remote
    from models.downloads.on_disk import bytes_of, is_on_disk, place_of  # the hub's client: longer than --help may take
    from models.downloads.whole_folders import folder_problem

    problem, place = spec.problem() or folder_problem(spec) or notes.problems.get(spec.name), place_of(spec)
    state = f"CANNOT BE USED: {problem}" if problem else "ok"
    if problem is None and not is_on_disk(spec):
        state = _not_downloaded(spec)
    loaded = f", loaded on {', '.join(notes.loaded[spec.name])}" if spec.name in notes.loaded else ""
    backend = notes.backends.get(spec.name)
    runs_on = "" if backend is None else f", backend {backend.backend}"
    yield f"{spec.name}{' (default)' if is_default else ''}: {state}{loaded}"
    yield f"    {spec.family}, {spec.dtype}{runs_on}, licence {spec.licence or 'not given'}"
    yield f"    {_defaults(spec)}"
    if spec.aliases:
        yield f"    also called: {', '.join(spec.aliases)}"
    if is_remote(spec):
        yield f"    from {(spec.url or str(spec.source)).partition('?')[0]}"  # a query may have a token
    for what, where in (("", place), ("its denoiser: ", spec.denoiser), ("its VAE: ", spec.vae)):
        if where is not None and where.exists():
            size_bytes = bytes_of(where)
            yield f"    {what}{in_words(size_bytes)} ({size_bytes} bytes) in {where}"
    plan = plan_of(spec)
    if plan is not None:
        yield f"    {_memory(plan, spec)}"


def _not_downloaded(spec: ModelSpec) -> str:
    """What there is of a model whose files are not all here, and how the others come."""
    from models.downloads.notes import download_of

    begun = download_of(spec)
    if begun is None:
        return f"not downloaded: photogram models pull {spec.name}, or its first job, does that"
    if begun.is_running:
        return _how_far(begun)
    return f"{_how_far(begun)}: photogram models pull {spec.name}, or its first job, goes on there"


def _how_far(begun: DownloadState) -> str:
    done = bytes_in_words(begun.done_bytes, begun.total_bytes, begun.bytes_per_s)
    return f"downloading, {done}" if begun.is_running else f"not downloaded, {done}, not running"


def _other_downloads(catalog: Catalog, folder: Path) -> Iterator[str]:
    """A line for each download of no model in the catalog: ``models add`` writes the entry after the download."""
    from models.downloads.download import is_remote
    from models.downloads.notes import downloads_beside, note_of

    known = {note_of(spec) for spec in catalog.values() if is_remote(spec)}
    for path, begun in downloads_beside(folder):
        if path not in known:
            yield f"not in the catalog: {begun.model}, from {begun.source}: {_how_far(begun)}"


def _memory(plan: MemoryPlan, spec: ModelSpec) -> str:
    """What the model needs on a GPU, with its own settings and with the others that need less."""
    needed = plan.needed_bytes(spec.offload, spec.weights)
    others = {offload: plan.needed_bytes(offload, spec.weights) for offload in OFFLOADS}
    less = [f'{in_words(size)} with offload = "{offload}"' for offload, size in others.items() if size < needed]
    return f"needs about {in_words(needed)} on a GPU for one image{''.join(f', {each}' for each in less)}"


def _defaults(spec: ModelSpec) -> str:
    chosen = spec.defaults
    size = f"{chosen.width}x{chosen.height}"
    return f"{size}, {chosen.num_inference_steps} steps, {chosen.sampler}, guidance {chosen.guidance_scale:g}"

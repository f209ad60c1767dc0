"""``photogram models scan``: a folder of models of A1111 or ComfyUI, added to the catalog as it is."""

from __future__ import annotations

import filecmp
import os
from collections import defaultdict
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeAlias

from models.catalog.catalog import EXTRAS, PREDICTIONS, Catalog, ModelSpec
from models.catalog.file_kinds import CHECKPOINT, DENOISER, TABLES, VAE, FileKind, kind_of
from models.catalog.gguf_files import GGUF
from models.catalog.pipelines import INDEX
from models.catalog.weights import PICKLES, WEIGHTS
from models.errors import CatalogError
from service.backbone.catalog_edit import Place
from service.commands.model_files import auxiliary_entry, beside, name_of_file, read_yaml, weights_problem

_FOLDERS = ("models", "embeddings", "extensions/sd-webui-controlnet/models")
"""Where A1111 and ComfyUI keep models; their other folders are left alone."""
_EXTRA_PATHS = "extra_model_paths.yaml"
"""ComfyUI's list of further folders."""
_NO_FOLDERS = ("base_path", "is_default", "custom_nodes")
_SUFFIXES = (*WEIGHTS, *PICKLES, GGUF)
_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp")
_VAE_ENDING = ".vae.safetensors"
_END_BYTES = 65_536
_Ends: TypeAlias = tuple[int, bytes]
"""Size and digest of the last ``_END_BYTES``."""


class Scan:
    """One scan: a line for each file, and the entries that the files become. Nothing is copied, and no entry changed.

    Args:
        catalog: the catalog before the scan.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.entries: dict[Place, dict[str, Any]] = {}
        self._known = self._left_out = 0
        self._catalog = catalog
        self._names = {table: {name.casefold() for name in getattr(catalog, table)} for table in EXTRAS}
        self._names["models"] = set()
        self._catalog_files = {os.path.realpath(path): name for path, name in _places(catalog)}
        self._held = dict(self._catalog_files)
        self._alike: defaultdict[_Ends, list[str]] = defaultdict(list)
        for real in self._held:
            if os.path.isfile(real) and os.access(real, os.R_OK):
                self._alike[_ends(real)].append(real)

    def lines(self, folder: Path) -> Iterator[str]:
        """Look at the models in ``folder`` and below; a line says what each is, and the last one counts them.

        Raises:
            CatalogError: there is no such folder.
        """
        if not folder.is_dir():
            raise CatalogError(f"there is no folder {folder}")
        roots, problem = _roots(folder)
        if problem is not None:
            yield f"{_EXTRA_PATHS}: left out: {problem}"
        for file in _files(roots):
            yield f"{_below(file, folder)}: {self._look_at(file)}"
        yield f"{len(self.entries)} new, {self._known} in the catalog already, {self._left_out} left out"

    def _look_at(self, file: Path) -> str:
        """What ``file`` is and what becomes of it."""
        real = os.path.realpath(file)
        name = self._catalog_files.get(real) or self._catalog_files.get(os.path.dirname(real))
        if name is not None:
            self._known += 1
            return f"{_what(file)}, in the catalog as {name}"
        try:
            return self._add(file, real)
        except CatalogError as error:
            self._left_out += 1
            return f"left out: {error}"

    def _add(self, file: Path, real: str) -> str:
        """Make an entry of ``file``; a :class:`CatalogError` says why it is left out."""
        _check_name(file)
        if file.is_dir():
            raise CatalogError("it is a diffusers folder, which photogram models add adds")
        kind = kind_of(file)
        if kind.problem is not None:
            raise CatalogError(kind.problem)
        if kind.kind == VAE:
            raise CatalogError(_advice_on_vae(file))
        if kind.kind == DENOISER:
            raise CatalogError(
                f"it is {kind}; photogram models add FILE --parts MODEL adds it with a model's other parts"
            )
        twin = self._twin(file, real)
        if twin is not None:
            raise CatalogError(f"it is the same as {twin}")
        place = self._place(file, kind)
        is_checkpoint = kind.kind == CHECKPOINT
        self.entries[place] = _checkpoint_entry(file, kind, place[1]) if is_checkpoint else auxiliary_entry(file, kind)
        self._names[place[0]].add(place[1].casefold())
        self._held[real] = place[1]
        self._alike[_ends(real)].append(real)
        return f"{kind}, new, as {place[1]}"

    def _twin(self, file: Path, real: str) -> str | None:
        """The name of the model that ``file`` is a link to or a copy of."""
        if real in self._held:
            return self._held[real]
        same = (other for other in self._alike[_ends(real)] if filecmp.cmp(real, other, shallow=False))
        twin = next(same, None)
        return None if twin is None else self._held[twin]

    def _place(self, file: Path, kind: FileKind) -> Place:
        table = TABLES.get(kind.kind, "models")
        name = name_of_file(file)
        longer = f"{file.parent.name}/{name}"
        numbered = (f"{longer}-{number}" for number in range(2, 10_000))
        return table, next(each for each in (name, longer, *numbered) if not self._is_taken(table, each))

    def _is_taken(self, table: str, name: str) -> bool:
        is_model = table == "models" and self._catalog.resolve(name) is not None
        return is_model or name.casefold() in self._names[table]


def _places(catalog: Catalog) -> Iterator[tuple[Path, str]]:
    """Where the models of ``catalog`` are on this machine, and their names."""
    for spec in catalog.values():
        place = spec.file or spec.folder
        if place is not None:
            yield place, spec.name
    for table in EXTRAS:
        yield from ((each.path, each.name) for each in getattr(catalog, table).values())


def _ends(file: str) -> _Ends:
    """The size of ``file`` and a digest of its last bytes, by which most files differ that are not copies."""
    size_bytes = os.path.getsize(file)
    with open(file, "rb") as opened:
        opened.seek(max(0, size_bytes - _END_BYTES))
        return size_bytes, blake2b(opened.read()).digest()


def _what(file: Path) -> str:
    if file.is_dir():
        return "a diffusers folder"
    kind = kind_of(file)
    return str(kind) if kind.problem is None else f"cannot be used ({kind.problem})"


def _checkpoint_entry(file: Path, kind: FileKind, name: str) -> dict[str, Any]:
    """The entry of a checkpoint with the tensors of its architecture; a :class:`CatalogError` says what it lacks."""
    keys = beside(file)
    vae, prediction = keys.get("vae"), keys.get("prediction", PREDICTIONS[0])
    spec = ModelSpec(
        name=name, family=str(kind.family), file=file, vae=None if vae is None else Path(vae), prediction=prediction
    )
    problem = weights_problem(spec)
    if problem is not None:
        raise CatalogError(problem)
    return {"file": str(file), "family": kind.family, **keys}


def _check_name(file: Path) -> None:
    if file.name.startswith("."):
        raise CatalogError("it is hidden")
    if file.name.endswith(_UNFINISHED):
        raise CatalogError("it is an unfinished download")
    try:
        str(file).encode()
    except UnicodeEncodeError as error:
        raise CatalogError("its path is no valid Unicode: rename it") from error


def _advice_on_vae(file: Path) -> str:
    if file.name.endswith(_VAE_ENDING):
        checkpoint = file.with_name(file.name.removesuffix(_VAE_ENDING) + ".safetensors")
        if checkpoint.is_file():
            return f"it is the VAE beside {checkpoint.name}, which is drawn with it"
    return "it is a VAE; photogram models add FILE --to MODEL gives it to a checkpoint"


def _roots(folder: Path) -> tuple[list[Path], str | None]:
    """The folders to search, those of A1111 and ComfyUI in their own folder or else the folder itself.

    The second value says why ComfyUI's list of further folders is left out; ``None`` if it is not.
    """
    extra, listed, problem = folder / _EXTRA_PATHS, list[Path](), None
    if extra.is_file():
        try:
            listed = list(_listed_in(read_yaml(extra), folder))
        except CatalogError as error:
            problem = str(error)
    own = [folder / each for each in _FOLDERS]
    return ([*own, *listed] if own[0].is_dir() or listed else [folder]), problem


def _listed_in(sections: Any, folder: Path) -> Iterator[Path]:
    """The folders in an ``extra_model_paths.yaml``: each section has a ``base_path`` and folders by their purpose.

    Raises:
        CatalogError: one of them is no path.
    """
    for section in sections.values() if isinstance(sections, dict) else ():
        places = section if isinstance(section, dict) else {}
        base = folder / _expanded(str(places.get("base_path", "")))
        for purpose, paths in places.items():
            if purpose not in _NO_FOLDERS and isinstance(paths, str):
                yield from (base / _expanded(path.strip()) for path in paths.splitlines() if path.strip())


def _expanded(path: str) -> Path:
    try:
        if "\0" in path:
            raise ValueError("a path has no zero bytes")
        return Path(path).expanduser()
    except (ValueError, RuntimeError) as error:
        raise CatalogError(f"{path!r} is no path") from error


def _files(roots: list[Path]) -> Iterator[Path]:
    """The files of weights and the diffusers folders in ``roots`` and below, in order; each real folder once.

    Links to folders are followed last, so that a folder is shown by its own path rather than by that of a link.
    """
    pending, seen = list(roots), set[str]()
    for root in pending:
        for within, folders, names in os.walk(root):
            real = os.path.realpath(within)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            if INDEX in names:
                folders.clear()
                yield Path(within)
                continue
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
            pending += [Path(within, name) for name in folders if os.path.islink(os.path.join(within, name))]
            yield from (Path(within) / name for name in sorted(names) if _is_weights(name))


def _is_weights(name: str) -> bool:
    lowered = name.lower()
    unfinished = next((each for each in _UNFINISHED if lowered.endswith(each)), "")
    return lowered.removesuffix(unfinished).endswith(_SUFFIXES)


def _below(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder) if file.is_relative_to(folder) else file)

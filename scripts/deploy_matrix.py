"""Deploys every family to every backend and precision, and writes the table of what came of it into docs/deploy.md.

Tiny random copies of all families and of an upscaler tell what can be exported and proved; the built-in checkpoint and
the built-in vision model are deployed as they are, and theirs are the figures of speed. The cells of a model are
written to a file when all its targets are done, and the table is made of that file, so that models may be run again one
by one, and a run that broke off goes on with the next model by ``--resume``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from photogram_runtime.package import is_recipe

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import HOUSE, Catalog, Defaults, ModelSpec
from models.catalog.families import FLUX, PIXART_SIGMA, SD3, SDXL, SDXL_REFINER, STABLE_DIFFUSION
from models.catalog.vision import EYES, eyes_spec
from models.deploy.backends import BACKENDS, REFUSED, check_target
from models.deploy.deploying import record
from models.deploy.making import Outcome, Recorded, make_packages
from models.deploy.packaging import Progress, Target
from models.deploy.profiling_keys import DEPLOYED, TORCH, speed
from models.deploy.store import PackageStore
from models.deploy.upscaling import record_upscaler
from models.deploy.vision import record_vision
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.quiet import silence_libraries
from models.diffusion.upscaling.upscaler import load_upscaler
from models.errors import PhotogramError
from models.vision.model import load_vision_model
from scripts.deploy_matrix_results import Results

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "deploy.md", ROOT / "docs" / "deploy-matrix.json"
BEGIN, END = "<!-- deploy-matrix begins -->", "<!-- deploy-matrix ends -->"
TINY_STEPS = 2
_TINY_PX = 64
_REASON_MAX = 120


@dataclass(frozen=True)
class Row:
    """One model of the matrix."""

    title: str
    record: Callable[[Path, Target], Recorded]
    """Builds or loads the model in a folder, and records it."""
    steps: int | None = None
    """Of each image that is drawn."""
    is_random: bool = False
    """Whether it is a tiny copy with random weights, whose speed says nothing."""


def main() -> None:
    """Fill the cells that were asked for, and write the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="", help="the rows, by their titles, with commas between; all by default")
    parser.add_argument("--targets", default="", help="BACKEND-PRECISION with commas between; all by default")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of all cells (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="keep cells that were made by this code and with the "
                        "versions installed here")  # fmt: skip
    parser.add_argument("--dry", action="store_true", help="print the table and write no page")
    asked = parser.parse_args()
    silence_libraries()
    targets = [each for each in all_targets() if not asked.targets or each.name in asked.targets.split(",")]
    results = Results(asked.results)
    for row in all_rows():
        if not asked.models or row.title in asked.models.split(","):
            fill(row, [each for each in targets if not (asked.resume and results.is_current(row.title, each.name))],
                 results)  # fmt: skip
    written = table(results)
    print(written)
    if not asked.dry:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), written), encoding="utf-8")


def all_targets() -> list[Target]:
    """Every backend with every precision that it has, or could have and refuses."""
    return [
        Target(name, precision)
        for name, backend in BACKENDS.items()
        for precision in (*backend.precisions, *backend.refused)
    ] + [Target(name, "f32") for name in REFUSED]


def all_rows() -> list[Row]:
    """Tiny copies of all families, and the built-in models, of which the one that draws takes longest."""
    return [
        *(Row(f"{family} (tiny)", _tiny(family, build), TINY_STEPS, True) for family, build in _builders().items()),
        Row("upscaler (tiny)", _upscaler, is_random=True), Row(EYES, _eyes), Row(HOUSE, _house),
    ]  # fmt: skip


def fill(row: Row, targets: Sequence[Target], results: Results) -> None:
    """Deploy the model of ``row`` to ``targets``, and put what came of it into ``results``."""
    for target, found in _outcomes(row, targets):
        said = told(row, found)
        print(f"{row.title} {target.name}: {said}", file=sys.stderr, flush=True)
        results.put(row.title, target.name, said)


def _outcomes(row: Row, targets: Sequence[Target]) -> Iterator[tuple[Target, Outcome]]:
    possible = []
    for target in targets:
        try:
            check_target(target.backend, target.precision)
            possible.append(replace(target, steps=row.steps))
        except PhotogramError as error:
            yield target, error
    if not possible:
        return
    with tempfile.TemporaryDirectory(prefix="photogram-matrix-") as folder:
        try:
            model = row.record(Path(folder), possible[0])
        except PhotogramError as error:
            yield from ((target, error) for target in possible)
            return
        store = PackageStore(Path(folder) / "deployed")
        yield from make_packages(model, possible, store, is_forced=False, tell=_tell)


def told(row: Row, found: Outcome) -> str:
    """The text of a cell."""
    if isinstance(found, Exception):
        return f"refused: {_short(str(found))}"
    return cell(found.manifest, row.is_random)


def cell(manifest: Mapping[str, Any], is_random: bool) -> str:
    """The text of a cell whose package was made."""
    checks = manifest["checks"]
    if is_recipe(manifest):
        return "recipe only (not run here)"
    if not checks["passed"]:
        reason = " (its weights are random)" if is_random else ""
        return f"did not pass: {_short('; '.join(checks['failures']))}{reason}"
    size = sum(each["bytes"] for each in manifest["files"].values()) / 1e6
    faster = "" if is_random else f"{speed(manifest['profile'], DEPLOYED) / speed(manifest['profile'], TORCH):.1f}x, "
    return f"passed, {_quality(checks)}, {faster}{size:.0f} MB"


def _quality(checks: Mapping[str, Any]) -> str:
    agreement = checks.get("agreement")
    if agreement is not None:
        return f"cosine {agreement['cosine']:.5f}"
    lowest = checks["lowest_psnr_db"]
    return "equal" if lowest is None else f"{lowest:.0f} dB"


def _short(text: str) -> str:
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= _REASON_MAX else f"{flat[: _REASON_MAX - 3].rstrip()}..."


def table(results: Results) -> str:
    """The Markdown table: targets down, models across, because there are fewer models."""
    titles = [row.title for row in all_rows()]
    head = "| Target | " + " | ".join(titles) + " |"
    lines = [
        f"| `{target.name}` | " + " | ".join(results.text(title, target.name) for title in titles) + " |"
        for target in all_targets()
    ]
    made_with = f"Made with {', '.join(results.versions())}." if results.versions() else ""
    return "\n".join([head, "|---" * (len(titles) + 1) + "|", *lines, "", made_with]).rstrip()


def replaced(page: str, written: str) -> str:
    """``page`` with ``written`` between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{written}\n\n{END}{after}"


def _tiny(family: str, build: Callable[[Path], Path]) -> Callable[[Path, Target], Recorded]:
    def recorded(folder: Path, target: Target) -> Recorded:
        defaults = Defaults(sampler="Euler" if family in (SD3, FLUX) else "DDIM", width=_TINY_PX, height=_TINY_PX)
        return _drawing(
            ModelSpec(name="tiny", family=family, folder=build(folder / "model"), defaults=defaults), target
        )

    return recorded


def _house(folder: Path, target: Target) -> Recorded:
    return _drawing(Catalog({})[HOUSE], target)


def _drawing(spec: ModelSpec, target: Target) -> Recorded:
    return record(load_checkpoint(spec, torch.device("cpu")), Catalog({spec.name: spec}), target, _tell)


def _eyes(folder: Path, target: Target) -> Recorded:
    return record_vision(load_vision_model(eyes_spec(), torch.device("cpu")), _tell)


def _upscaler(folder: Path, target: Target) -> Recorded:
    from tests.models.diffusion.upscaling.tiny_upscalers import compact, write

    spec = AuxiliaryModel(name="tiny", path=write(compact, folder / "tiny.safetensors"))
    return record_upscaler(spec, load_upscaler(spec.path, torch.device("cpu"), torch.float32), _tell)


def _tell(progress: Progress) -> None:
    told = f"{progress.stage} {progress.done}/{progress.total} {progress.detail} {progress.target}"
    print(f"  {told.rstrip()}", file=sys.stderr, flush=True)


def _builders() -> Mapping[str, Callable[[Path], Path]]:
    from tests import tiny

    return {
        STABLE_DIFFUSION: tiny.build_tiny_sd,
        SDXL: tiny.build_tiny_sdxl,
        SDXL_REFINER: tiny.build_tiny_refiner,
        SD3: tiny.build_tiny_sd3,
        FLUX: lambda folder: tiny.build_tiny_flux(folder, guidance_embeds=True),
        PIXART_SIGMA: tiny.build_tiny_pixart,
    }


if __name__ == "__main__":
    main()

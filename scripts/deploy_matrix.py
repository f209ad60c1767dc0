"""Deploys every family to every backend and precision, and writes the table of what came of it into docs/deploy.md.

Tiny random copies of all families tell what can be exported and proved; the built-in checkpoint and the built-in vision
model are deployed as they are, and theirs are the figures of speed and size.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from photogram_runtime.package import Package

from models.catalog.catalog import HOUSE, Catalog, Defaults, ModelSpec
from models.catalog.families import FLUX, PIXART_SIGMA, SD3, SDXL, SDXL_REFINER, STABLE_DIFFUSION
from models.catalog.vision import EYES, eyes_spec
from models.deploy.backends import BACKENDS, check_target
from models.deploy.deploying import deploy
from models.deploy.packaging import Progress, Target
from models.deploy.profiling_keys import DEPLOYED, TORCH, speed
from models.deploy.store import PackageStore
from models.deploy.vision import deploy_vision
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.quiet import silence_libraries
from models.errors import PhotogramError
from models.vision.model import load_vision_model

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "deploy.md"
BEGIN, END = "<!-- deploy-matrix begins -->", "<!-- deploy-matrix ends -->"
TINY_STEPS = 2
_TINY_PX = 64
_REASON_MAX = 120
Deploy = Callable[[Target, PackageStore], Package]


@dataclass(frozen=True)
class Row:
    """One model of the matrix."""

    title: str
    open: Callable[[Path], Deploy]
    """Builds or loads the model in a folder."""


def main() -> None:
    """Make the table, print it, and write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="", help="the rows, by their titles, with commas between; all by default")
    parser.add_argument("--targets", default="", help="BACKEND-PRECISION with commas between; all by default")
    parser.add_argument("--dry", action="store_true", help="print the table and write no page")
    asked = parser.parse_args()
    silence_libraries()
    targets = [each for each in all_targets() if not asked.targets or each.name in asked.targets.split(",")]
    rows = [each for each in all_rows() if not asked.models or each.title in asked.models.split(",")]
    written = table(rows, targets)
    print(written)
    if not asked.dry:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), written), encoding="utf-8")


def all_targets() -> list[Target]:
    """Every backend with every precision that it has, or could have and refuses."""
    return [
        Target(name, precision)
        for name, backend in BACKENDS.items()
        for precision in (*backend.precisions, *backend.refused)
    ]


def all_rows() -> list[Row]:
    """Tiny copies of all families, and the built-in models."""
    return [*(Row(f"{family} (tiny)", _tiny(family, build)) for family, build in _builders().items()),
            Row(HOUSE, _house), Row(EYES, _eyes)]  # fmt: skip


def table(rows: list[Row], targets: list[Target]) -> str:
    """The Markdown table: targets down, models across, because there are fewer models."""
    cells = {row.title: dict(_column(row, targets)) for row in rows}
    head = "| Target | " + " | ".join(row.title for row in rows) + " |"
    lines = [
        f"| `{target.name}` | " + " | ".join(cells[row.title][target.name] for row in rows) + " |" for target in targets
    ]
    return "\n".join([head, "|---" * (len(rows) + 1) + "|", *lines])


def _column(row: Row, targets: list[Target]) -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory(prefix="photogram-matrix-") as folder:
        made = row.open(Path(folder))
        for target in targets:
            found = cell(made, target, PackageStore(Path(folder) / "deployed"))
            print(f"{row.title} {target.name}: {found}", file=sys.stderr, flush=True)
            yield target.name, found


def cell(made: Deploy, target: Target, store: PackageStore) -> str:
    """What came of deploying one model to one target."""
    try:
        check_target(target.backend, target.precision)
        package = made(target, store)
    except PhotogramError as error:
        return f"refused: {_short(str(error))}"
    return told(package.manifest)


def told(manifest: Mapping[str, Any]) -> str:
    """The cell of a package that was made."""
    checks = manifest["checks"]
    if not checks["passed"]:
        return f"did not pass: {_short('; '.join(checks['failures']))}"
    size = sum(each["bytes"] for each in manifest["files"].values()) / 1e6
    faster = speed(manifest["profile"], DEPLOYED) / speed(manifest["profile"], TORCH)
    return f"passed, {_quality(checks)}, {faster:.1f}x, {size:.0f} MB"


def _quality(checks: Mapping[str, Any]) -> str:
    agreement = checks.get("agreement")
    if agreement is not None:
        return f"cosine {agreement['cosine']:.5f}"
    lowest = checks["lowest_psnr_db"]
    return "equal" if lowest is None else f"{lowest:.0f} dB"


def _short(text: str) -> str:
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= _REASON_MAX else f"{flat[: _REASON_MAX - 3].rstrip()}..."


def replaced(page: str, written: str) -> str:
    """``page`` with ``written`` between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{written}\n\n{END}{after}"


def _tiny(family: str, build: Callable[[Path], Path]) -> Callable[[Path], Deploy]:
    def opened(folder: Path) -> Deploy:
        defaults = Defaults(sampler="Euler" if family in (SD3, FLUX) else "DDIM", width=_TINY_PX, height=_TINY_PX)
        return _drawing(
            ModelSpec(name="tiny", family=family, folder=build(folder / "model"), defaults=defaults), TINY_STEPS
        )

    return opened


def _house(folder: Path) -> Deploy:
    return _drawing(Catalog({})[HOUSE], None)


def _drawing(spec: ModelSpec, steps: int | None) -> Deploy:
    checkpoint, catalog = load_checkpoint(spec, torch.device("cpu")), Catalog({spec.name: spec})

    def made(target: Target, store: PackageStore) -> Package:
        wanted = Target(target.backend, target.precision, steps=steps)
        return deploy(checkpoint, catalog, wanted, store, is_forced=False, tell=_quiet)

    return made


def _eyes(folder: Path) -> Deploy:
    model = load_vision_model(eyes_spec(), torch.device("cpu"))
    return lambda target, store: deploy_vision(model, target, store, is_forced=False, tell=_quiet)


def _quiet(progress: Progress) -> None:
    return


def _builders() -> Mapping[str, Callable[[Path], Path]]:
    sys.path.insert(0, str(ROOT))
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

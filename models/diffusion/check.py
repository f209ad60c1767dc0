"""``photogram models check``: load one model of the catalog in a separate process and draw with it."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from models.catalog.catalog import Catalog
from models.catalog.families import TXT2IMG
from models.diffusion.quiet import silence_libraries
from models.errors import PhotogramError, in_flags
from models.jobs.params import DrawParams, DrawRequest
from models.jobs.tickets import complete

STEPS = 2


def main(argv: list[str] | None = None) -> int:
    """Print ``ok`` or the reason why the model cannot be used, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.diffusion.check", description=__doc__)
    parser.add_argument("catalog", type=Path)
    parser.add_argument("name")
    options = parser.parse_args(argv)
    silence_libraries()
    try:
        took_s = _draw(Catalog.load(options.catalog), options.name)
    except PhotogramError as error:
        print(f"photogram models check: {in_flags(error, {'model': ''})}", file=sys.stderr)
        return 1
    print(f"{options.name}: ok, loaded and drew {STEPS} steps in {took_s:.1f} s")
    return 0


def _draw(catalog: Catalog, name: str) -> float:
    """Draw with the model, and return the seconds; the engine is imported here, after its libraries were silenced."""
    import torch

    from models.diffusion.checkpoint_loading import load_checkpoint
    from models.diffusion.engine import Engine
    from models.diffusion.events import Failed, Finished
    from models.diffusion.work import Task

    started = time.monotonic()
    params = complete(DrawRequest(prompt="a cat", model=name, seed=0), catalog)
    assert isinstance(params, DrawParams)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    engine = Engine(lambda spec: load_checkpoint(spec, device), device=device)
    task = Task(kind=TXT2IMG, params=replace(params, num_inference_steps=STEPS), catalog=catalog, images={})
    engine.add_row("check", task)
    while True:
        for event in engine.step():
            if isinstance(event, Failed):
                raise event.failure
            if isinstance(event, Finished):
                return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())

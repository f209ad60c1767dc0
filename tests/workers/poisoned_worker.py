"""A worker whose process dies when it begins a job whose prompt contains the word "poison"."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import Any

import torch

from models.catalog.catalog import ModelSpec
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from service.backbone.settings import Settings
from workers.diffusion import open_diffusion
from workers.worker import run


def load_poisoned(spec: ModelSpec, device: torch.device, **options: Any) -> Checkpoint:
    """The real checkpoint, with a trap in its tokenizer."""
    checkpoint = load_checkpoint(spec, device, **options)
    tokenizer = checkpoint.pipeline.tokenizer

    class Trap(type(tokenizer)):  # type: ignore[misc]
        def __call__(self, text: Any = None, *args: Any, **options: Any) -> Any:
            if "poison" in str(text):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(text, *args, **options)

    tokenizer.__class__ = Trap
    return checkpoint


if __name__ == "__main__":
    settings = Settings.from_environment()
    assert settings.redis_url is not None
    run(settings, settings.redis_url, sys.argv[1], open_diffusion=partial(open_diffusion, load=load_poisoned))

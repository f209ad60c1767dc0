"""``python -m service.rwkv_server``: serve one RWKV World checkpoint with OpenAI's completions API."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import uvicorn

from models.language.extras import ExtraMissing
from models.language.rwkv.engine import Engine
from models.language.rwkv.model import DTYPES, Model
from models.language.rwkv.vocabulary import Vocabulary
from models.language.rwkv.weights import BadWeights
from service.backbone.logs import configure_logging
from service.rwkv_server.app import create_app

_GRACE_S = 2
"""How long responses may continue after the signal to stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code: 2 for invalid weights or arguments."""
    parser = _arguments()
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("argument --device: no CUDA device is available")
    configure_logging("rwkv")
    try:
        model = Model(options.model, dtype=DTYPES[options.dtype], device=options.device)
        engine = Engine(model, Vocabulary.world(), max_sequences=options.max_sequences)
    except (BadWeights, ExtraMissing, RuntimeError) as error:  # torch raises RuntimeError when memory is short
        print(f"rwkv_server: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    uvicorn.run(
        create_app(engine, options.served_model_name or options.model.stem),
        host=options.host, port=options.port, access_log=False, log_config=None,
        timeout_graceful_shutdown=_GRACE_S, server_header=False,
    )  # fmt: skip
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rwkv_server", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the checkpoint: a .pth file of version 5.2, 6 or 7")
    parser.add_argument("--served-model-name", help="the model's name in requests (default: the file's name)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_integer(0, 65535), default=8901)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="fp32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--max-sequences", type=_integer(1, 1024), default=32, help="how many sequences are decoded at once"
    )
    return parser


def _integer(low: int, high: int) -> Callable[[str], int]:
    """A parser of integers from ``low`` to ``high``."""

    def read(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"must be from {low} to {high}")
        return number

    return read


if __name__ == "__main__":
    sys.exit(main())

"""Converts SmolLM2-135M-Instruct from the GGUF file in a Python package to a folder that vLLM can load.

The file has 4-bit weights, which vLLM on CPUs does not support; transformers converts them to 16 bits.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from models.language.extras import ExtraMissing, require_extra

VERSION = "1"
"""The version of the conversion; folders of another version are converted again."""
_MARK = "photogram-conversion"


def is_converted(folder: Path) -> bool:
    """Whether ``folder`` has a complete model of this version."""
    try:
        return (folder / _MARK).read_text(encoding="utf-8") == VERSION
    except OSError:
        return False


def convert(source: Path, folder: Path) -> None:
    """Write configuration, tokenizer and bfloat16 weights of the GGUF file ``source`` to ``folder``.

    Atomic: the files are written beside ``folder`` and renamed. Takes about 20 s and 1.5 GB of memory.

    Raises:
        ExtraMissing: the package ``gguf`` is not installed.
        OSError: ``source`` cannot be read, or ``folder`` cannot be written.
        ValueError: ``source`` is not a GGUF file.
    """
    require_gguf()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch) / folder.name
        _write(source, made)
        (made / _MARK).write_text(VERSION, encoding="utf-8")
        if folder.exists():
            os.rename(folder, Path(scratch) / "old")
        os.rename(made, folder)


def require_gguf() -> None:
    """Raise :class:`ExtraMissing` unless GGUF files can be read here."""
    require_extra("gguf", "converting the language model")


def _write(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where, name = str(source.parent), source.name
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=name)
    model: Any = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
    model.to(dtype=torch.bfloat16)
    # transformers does not notice that the weights are no longer quantized, and would refuse to save them.
    del model.hf_quantizer
    del model.config.quantization_config
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(argv: list[str] | None = None) -> int:
    """``python -m models.language.smollm2 FILE FOLDER``; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.language.smollm2", description=__doc__)
    parser.add_argument("source", type=Path, help="the GGUF file")
    parser.add_argument("folder", type=Path, help="the folder to write")
    options = parser.parse_args(argv)
    try:
        convert(options.source, options.folder)
    except (ExtraMissing, OSError, ValueError) as error:
        print(f"{options.source} was not converted: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The throughput of batched RWKV decoding, with random weights: ``python -m benchmarks.rwkv --version 6``.

One run alternates between the package ``rwkv`` with one sequence, our engine with one sequence, and our engine with
several. It also measures the time to the first token with and without a cached prefix. Only the ratios are meaningful,
because other programs may run on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from models.language.rwkv.engine import Engine, Request
from models.language.rwkv.model import VERSIONS, Model
from models.language.rwkv.sampling import Sampling
from models.language.rwkv.vocabulary import Vocabulary
from models.language.rwkv.weights import TOP_SHAPES

_PROMPT_TOKENS = 16
_LONG_PROMPT_TOKENS = 400
_GREEDY = Sampling(temperature=0)


def random_checkpoint(path: Path, version: str, width: int, layers: int, vocabulary: int) -> None:
    """Write a checkpoint of random weights, small enough to avoid overflow."""
    sizes = {"V": vocabulary, "C": width, "H": width // 64, "N": 64, "F": 4 * width, "m": 32, "5m": 160}
    shapes = dict(TOP_SHAPES)
    for layer in range(layers):
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in VERSIONS[version].SHAPES.items()}
    tensors = {
        name: 0.02 * torch.randn([int(part) if part.isdecimal() else sizes.get(part, 64) for part in shape.split()])
        for name, shape in shapes.items()
    }
    torch.save(tensors, path)


def open_package(path: Path, version: str) -> Any:
    """The package's model; the package reads its settings at import, prints and warns."""
    os.environ.update(RWKV_JIT_ON="1", RWKV_V7_ON="1" if version == "7" else "0")
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        from rwkv.model import RWKV

        return RWKV(model=str(path.with_suffix("")), strategy="cpu fp32")


def package_rate(package: Any, tokens: int) -> float:
    """Tokens per second of the package, with one sequence."""
    logits, state = package.forward(list(range(1, _PROMPT_TOKENS + 1)), None)
    began_at = time.perf_counter()
    for _ in range(tokens):
        logits, state = package.forward([int(logits.argmax())], state)
    return tokens / (time.perf_counter() - began_at)


def engine_rate(engine: Engine, tokens: int, at_once: int) -> float:
    """Tokens per second of the engine while ``at_once`` sequences are decoded."""
    for number in range(at_once):
        prompt = tuple(range(1 + number, 1 + number + _PROMPT_TOKENS))
        engine.add(Request(prompt=prompt, max_tokens=10**9, sampling=_GREEDY))
    while len(engine.running) < at_once:
        engine.step()
    written, began_at = engine.generated_tokens, time.perf_counter()
    for _ in range(tokens):
        engine.step()
    rate = (engine.generated_tokens - written) / (time.perf_counter() - began_at)
    engine.clear()
    return rate


def first_token_s(engine: Engine, start: Sequence[int], end: int) -> float:
    """The seconds to the first token of the prompt ``start`` followed by ``end``."""
    began_at = time.perf_counter()
    engine.add(Request(prompt=(*start, end), max_tokens=1, sampling=_GREEDY))
    while not engine.is_idle:
        engine.step()
    return time.perf_counter() - began_at


def prefix_gain(model: Model, vocabulary: Vocabulary) -> float:
    """The speedup of the first token by a cached prefix of a long prompt."""
    engine = Engine(model, vocabulary)
    start = [1 + number % 250 for number in range(_LONG_PROMPT_TOKENS)]
    cold = first_token_s(engine, start, 251)
    first_token_s(engine, start, 252)
    return cold / first_token_s(engine, start, 253)


def measure(version: str, options: argparse.Namespace) -> dict[str, float]:
    """The best rate of each method in tokens per second, and the speedup by a cached prefix."""
    vocabulary = Vocabulary({token: bytes([token - 1]) for token in range(1, 257)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pth"
        random_checkpoint(path, version, options.width, options.layers, options.vocabulary)
        package, model = open_package(path, version), Model(path)
        ways: dict[str, Callable[[], float]] = {"package": lambda: package_rate(package, options.tokens)}
        for count in options.at_once:
            engine = Engine(model, vocabulary, max_sequences=count)
            ways[f"engine {count}"] = lambda engine=engine, count=count: engine_rate(engine, options.tokens, count)  # type: ignore[misc]
        rates: dict[str, list[float]] = {way: [] for way in ways}
        gains = []
        for _ in range(options.repeats):
            for way, run in ways.items():
                rates[way].append(run())
            gains.append(prefix_gain(model, vocabulary))
    return {way: max(each) for way, each in rates.items()} | {"prefix": max(gains)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", choices=sorted(VERSIONS), required=True)  # the package runs one in a process
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=65536)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results = measure(options.version, options)
    package = results["package"]
    ratios = {way: round(rate / package, 2) for way, rate in results.items() if way.startswith("engine")}
    print(json.dumps({
        "version": options.version, "package_tokens_per_s": round(package, 1), "times_the_package": ratios,
        "times_sooner_with_known_start": round(results["prefix"], 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()

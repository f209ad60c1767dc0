"""The law: what a sequence's next token is does not depend on its neighbours, and is what the package computes too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.language.rwkv.model import DTYPES, VERSIONS, Model
from models.language.rwkv.state import State
from tests.tiny.rwkv import save

TOLERANCE = 5e-5
"""Of logits whose standard deviation is about 1.5: matrix products of other sizes add up in another order."""
ROOT = Path(__file__).parents[4]
REFERENCE = """
import json, os, sys
os.environ.update(RWKV_JIT_ON="0", RWKV_V7_ON="1" if sys.argv[2] == "7" else "0")
from rwkv.model import RWKV
path = sys.argv[1].removesuffix(".pth")
model, state, steps = RWKV(model=path, strategy="cpu fp32"), None, []
tokens = json.loads(sys.argv[3])
for token in tokens:
    logits, state = model.forward([token], state)
    steps.append(logits.tolist())
whole, _ = model.forward(tokens, None)
print()
print(json.dumps([steps, whole.tolist(), state[1].tolist()]))
"""
"""The package's own forward; in a process of its own, for it reads its settings when imported, prints, and warns."""


def tokens(count: int, seed: int = 1) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(257, (count,), generator=generator).tolist()


def step(model: Model, batch: list[int], state: State) -> Tensor:
    return model.forward(torch.tensor(batch)[:, None], state)


def alone(model: Model, text: list[int]) -> Tensor:
    """The logits after each token, one by one: [T, V]."""
    state = model.new_state(1)
    return torch.cat([step(model, [token], state) for token in text])


def test_logits_and_memory_are_those_of_the_package(version: str, tiny: Model, tiny_path: Path) -> None:
    text = tokens(24)
    command = [sys.executable, "-c", REFERENCE, str(tiny_path), version, json.dumps(text)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    steps, whole, memory = map(torch.tensor, json.loads(done.stdout.splitlines()[-1]))
    state = tiny.new_state(1)
    ours = torch.cat([step(tiny, [token], state) for token in text])
    assert 1 < float(ours.std()) < 3
    torch.testing.assert_close(ours, steps, atol=1e-4, rtol=0)
    torch.testing.assert_close(state.wkv[0, 0], memory, atol=1e-4, rtol=0)
    torch.testing.assert_close(tiny.forward(torch.tensor([text]), tiny.new_state(1))[0], whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_a_sequence_in_a_batch_is_as_it_is_alone(tiny: Model, size: int) -> None:
    texts = [tokens(12, seed) for seed in range(size)]
    state = tiny.new_state(size)
    together = torch.stack([step(tiny, list(batch), state) for batch in zip(*texts, strict=True)])
    for row, text in enumerate(texts):
        torch.testing.assert_close(together[:, row], alone(tiny, text), atol=TOLERANCE, rtol=0)
    assert float((together[-1, 0] - together[-1, 1]).abs().max()) > 1


def test_rows_of_a_pool_join_late_and_leave_early(tiny: Model) -> None:
    first, second, third = (tokens(12, seed) for seed in (11, 12, 13))
    pool = tiny.new_state(4)
    seen = [step(tiny, [token], pool.rows(0, 1))[0] for token in first[:3]]
    for at in range(3):  # the second joins
        seen.append(step(tiny, [first[3 + at], second[at]], pool.rows(0, 2))[0])
    for at in range(3):  # and the third
        seen.append(step(tiny, [first[6 + at], second[3 + at], third[at]], pool.rows(0, 3))[0])
    expected = alone(tiny, first[:9])
    torch.testing.assert_close(torch.stack(seen), expected, atol=TOLERANCE, rtol=0)
    pool.rows(0, 1).assign(pool.rows(2, 3))  # the first leaves: the last takes its place
    logits = step(tiny, [third[3], second[6]], pool.rows(0, 2))
    torch.testing.assert_close(logits[0], alone(tiny, third[:4])[-1], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(logits[1], alone(tiny, second[:7])[-1], atol=TOLERANCE, rtol=0)
    assert not pool.wkv[:, 3].any()


@pytest.mark.parametrize("cuts", [(30,), (1, 29), (7, 16, 7), (29, 1)])
def test_a_prompt_may_be_read_in_any_pieces(tiny: Model, cuts: tuple[int, ...]) -> None:
    text = tokens(30)
    state, one_by_one = tiny.new_state(1), tiny.new_state(1)
    for piece in torch.tensor(text).split(cuts):
        logits = tiny.forward(piece[None], state)
    for token in text:
        expected = step(tiny, [token], one_by_one)
    torch.testing.assert_close(logits, expected, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(state.wkv, one_by_one.wkv, atol=2e-4, rtol=1e-5)
    torch.testing.assert_close(state.last, one_by_one.last, atol=TOLERANCE, rtol=0)


def test_in_bfloat16_the_model_says_nearly_the_same(tiny: Model, tiny_path: Path) -> None:
    rough = Model(tiny_path, dtype=DTYPES["bf16"])
    text = tokens(20)
    exact, ours = alone(tiny, text), alone(rough, text)
    assert rough.new_state(1).wkv.dtype is torch.float32
    assert float((exact - ours).square().mean().sqrt()) < 0.15 * float(exact.std())


@pytest.mark.gpu
@pytest.mark.parametrize("version_there", list(VERSIONS))
def test_on_cuda_the_law_holds_too(version_there: str, tmp_path: Path) -> None:
    path = save(tmp_path / "tiny.pth", version_there)
    text = tokens(20)
    there, here = Model(path, device="cuda"), Model(path)
    torch.testing.assert_close(alone(there, text).cpu(), alone(here, text), atol=1e-2, rtol=0)

"""Tokens counted without torch, against the tokenizers that the pipelines use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from models.catalog.catalog import ModelSpec, house_spec
from models.catalog.families import FLUX, SDXL, SDXL_REFINER, STABLE_DIFFUSION
from models.language.budget import ESTIMATE, TOKENIZER, budget_of, estimate
from tests.tiny.parts import clip_tokenizer, t5_tokenizer

TEXTS = [
    "a cat", "A  Red\tFOX, it's 42 metres; f/1.8!", "naïve café 猫 on a sofa 🙂", "don't we'll they've", "...",
    "", "high-quality\nphoto", "a_b ###", "Ⅳ ½ ǅ", "x" * 300,
]  # fmt: skip


def byte_alphabet() -> list[str]:
    """The characters that stand for the 256 bytes in byte-level pieces."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [*map(chr, plain), *(chr(256 + number) for number in range(len(others)))]


@pytest.fixture(scope="module")
def clip_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP tokenizer as the repositories of Stable Diffusion have it: byte pairs in two files."""
    folder = tmp_path_factory.mktemp("clip") / "tokenizer"
    folder.mkdir()
    merges = [
        "a t</w>",
        "c at</w>",
        "r e",
        "re d</w>",
        "f o",
        "fo x</w>",
        "p h",
        "i t</w>",
        "' s</w>",
        "4 2</w>",
        ". .",
        ".. .</w>",
    ]
    letters = byte_alphabet()
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge.split()) for merge in merges)]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 77}')
    return folder


def spec(folder: Path, family: str = STABLE_DIFFUSION) -> ModelSpec:
    return ModelSpec(name="tiny", family=family, folder=folder)


@pytest.mark.parametrize("text", TEXTS)
def test_clip_in_two_files_counts_as_transformers_does(clip_files: Path, text: str) -> None:
    budget = budget_of(spec(clip_files.parent))
    theirs = CLIPTokenizer(vocab=str(clip_files / "vocab.json"), merges=str(clip_files / "merges.txt"))
    assert (budget.limit, budget.counted) == (75, TOKENIZER)
    assert budget.count_plain(text) == len(theirs(text, add_special_tokens=False, verbose=False).input_ids)


def test_pairs_are_really_merged(clip_files: Path) -> None:
    assert budget_of(spec(clip_files.parent)).count("CAT red fox it's cat") == 6


@pytest.mark.parametrize("text", TEXTS)
def test_saved_tokenizers_count_the_same(tmp_path: Path, text: str) -> None:
    clip_tokenizer().save_pretrained(tmp_path / "tokenizer")
    t5_tokenizer().save_pretrained(tmp_path / "tokenizer_2")
    for family, tokenizer, limit in ((SDXL, clip_tokenizer(), 75), (FLUX, t5_tokenizer(), 254)):
        budget = budget_of(spec(tmp_path, family))
        assert (budget.limit, budget.counted) == (limit, TOKENIZER)
        assert budget.count_plain(text) == len(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def test_the_house_model() -> None:
    budget = budget_of(house_spec())
    assert (budget.limit, budget.counted) == (22, TOKENIZER)
    assert budget.count("a red apple on a light blue background") == 8


def test_the_refiner_has_only_a_second_tokenizer(tmp_path: Path) -> None:
    clip_tokenizer().save_pretrained(tmp_path / "tokenizer_2")
    assert budget_of(spec(tmp_path, SDXL_REFINER)).counted == TOKENIZER


def test_syntax_is_no_text() -> None:
    budget = budget_of(house_spec())
    assert budget.count("(a cat:1.3) BREAK [a dog] <lora:x:1>") == budget.count("a cat a dog") == 4
    assert budget.count("[a|b]") > 0  # cannot be read, but counted
    assert budget.count("\ud800") > 0


def test_a_tokenizer_that_changed_is_read_anew(tmp_path: Path) -> None:
    house = (house_spec().folder or Path()) / "tokenizer" / "tokenizer.json"
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    clip_tokenizer().save_pretrained(folder)
    assert budget_of(spec(tmp_path)).count("apple") == 5
    (folder / "tokenizer.json").write_bytes(house.read_bytes())
    os.utime(folder / "tokenizer.json", ns=(1, 1))
    assert budget_of(spec(tmp_path)).count("apple") == 1


@pytest.mark.parametrize("config", ["{}", "[]", "no json", '{"model_max_length": "x"}', '{"model_max_length": -1}'])
def test_a_configuration_that_says_nothing(tmp_path: Path, config: str) -> None:
    clip_tokenizer().save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text(config)
    assert budget_of(spec(tmp_path)).limit == 75


def test_what_cannot_be_read_is_estimated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert budget_of(spec(tmp_path)).counted == ESTIMATE
    assert budget_of(spec(tmp_path, FLUX)).limit == 254
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text('{"version": "1.0"}')
    budget = budget_of(spec(tmp_path))
    assert (budget.limit, budget.counted) == (75, ESTIMATE) and "cannot be read" in caplog.text
    assert budget_of(ModelSpec(name="x", family=STABLE_DIFFUSION, repository="not a name/")).counted == ESTIMATE
    assert budget_of(ModelSpec(name="x", family=STABLE_DIFFUSION, file=tmp_path / "x.safetensors")).counted == ESTIMATE


def test_estimates_are_rather_too_high() -> None:
    assert [estimate(text) for text in ("", "a cat", "a red fox, 42", "photography", "猫")] == [0, 2, 6, 3, 3]


def test_the_hub_is_looked_for_in_its_cache_alone_and_no_framework_is_loaded(clip_files: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--someone--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer").symlink_to(clip_files)
    (tmp_path / "models--someone--model" / "refs").mkdir()
    (tmp_path / "models--someone--model" / "refs" / "main").write_text("abc")
    script = (
        "import sys; from models.catalog.catalog import ModelSpec; from models.language.budget import budget_of\n"
        "spec = ModelSpec(name='x', family='stable-diffusion', repository='someone/model')\n"
        "print(budget_of(spec).count('a red cat'), {'torch', 'transformers', 'diffusers'} & set(sys.modules))\n"
    )
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "3 set()\n"

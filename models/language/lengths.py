"""How long a prompt may be for one model: counted at submission, so that no job is queued that its worker refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from models.catalog.bounds import PROMPT_CHUNKS_MAX, T5_TOKENS_MAX
from models.catalog.catalog import ModelSpec
from models.catalog.families import FLUX, PIXART_SIGMA, SD3
from models.errors import Problem, ProblemCode
from models.jobs.prompts import Break, PromptError, parse
from models.language.budget import CLIP_LENGTH, Budget, budget_in, budget_of

_T5_FOLDERS = {FLUX: "tokenizer_2", SD3: "tokenizer_3", PIXART_SIGMA: "tokenizer"}
_T5_LIMITS = {PIXART_SIGMA: 300}
"""The number of tokens for which a family was trained, where it is less than T5 reads."""
_T5_ENCODERS = {SD3: "text_encoder_3"}
"""The folder of the T5 text encoder, for families whose models may lack it; CLIP alone reads 77 tokens."""


def length_problem(spec: ModelSpec, text: str) -> Problem | None:
    """A problem if ``text``, a prompt with its style applied, is longer than ``spec`` reads.

    Models with CLIP read any number of chunks of tokens, of which the cost of a step grows; models with T5 read one.
    """
    return _t5_problem(spec, text) if spec.family in _T5_FOLDERS else _clip_problem(spec, text)


def _clip_problem(spec: ModelSpec, text: str) -> Problem | None:
    if text.isascii() and text.count("BREAK") + len(text) // CLIP_LENGTH < PROMPT_CHUNKS_MAX // 4:
        return None  # no tokenizer makes more tokens than there are bytes, and none has chunks below 20 tokens
    budget = budget_of(spec)
    try:
        chunks = sum(max(1, -(-tokens // budget.limit)) for tokens in _section_tokens(text, budget))
    except PromptError:
        return None  # reported as such
    if chunks <= PROMPT_CHUNKS_MAX:
        return None
    message = (
        f"takes {chunks} chunks of {budget.limit} tokens, and {spec.name} reads at most {PROMPT_CHUNKS_MAX}; shorten it"
    )
    return Problem(message, ProblemCode.TOO_LONG)


def _section_tokens(text: str, budget: Budget) -> Iterator[int]:
    """The number of tokens of each part between two ``BREAK``."""
    tokens = 0
    for fragment in parse(text).fragments:
        if isinstance(fragment, Break):
            yield tokens
            tokens = 0
        else:
            tokens += budget.count_plain(fragment.text)
    yield tokens


def _t5_problem(spec: ModelSpec, text: str) -> Problem | None:
    has_t5 = _has_t5(spec)
    limit = _T5_LIMITS.get(spec.family, T5_TOKENS_MAX) if has_t5 else CLIP_LENGTH
    if text.isascii() and len(text) < limit - 2:
        return None
    budget = budget_in(spec, (_T5_FOLDERS[spec.family],)) if has_t5 else budget_of(spec)
    tokens = budget.count_plain(text) + (1 if has_t5 else 2)  # with its special tokens
    if tokens <= limit:
        return None
    message = f"has {tokens} tokens, and {spec.name} reads at most {limit}; shorten it"
    return Problem(message, ProblemCode.TOO_LONG)


def _has_t5(spec: ModelSpec) -> bool:
    """Whether the model has its T5 text encoder, as far as a local folder shows."""
    encoder = _T5_ENCODERS.get(spec.family)
    folder: Path | None = spec.folder
    return encoder is None or folder is None or not folder.is_dir() or (folder / encoder).is_dir()

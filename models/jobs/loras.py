"""The LoRAs of a request, whether it draws with them or deploys a model with them: their names and their weights."""

from __future__ import annotations

from collections.abc import Iterable

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FamilyFacts
from models.errors import Problem, ProblemCode
from models.jobs.checks import Problems, auxiliary_problem
from models.jobs.params import LORA_WEIGHT_MAX, LoraUse


def summed_loras(
    named: Iterable[tuple[str, LoraUse]], model: ModelSpec, catalog: Catalog, problems: Problems
) -> tuple[LoraUse, ...]:
    """LoRAs by the catalog's names; the weights of the same LoRA are added up.

    Args:
        named: each LoRA with the field that names it; one that ``model`` cannot have is noted as a problem of it.
    """
    totals: dict[str, tuple[float, float]] = {}
    for field, use in named:
        lora = catalog.loras.resolve(use.name)
        problems.note(field, auxiliary_problem("LoRA", use.name, lora, catalog.loras, model.family))
        if lora is not None:
            denoiser, text_encoders = totals.get(lora.name, (0.0, 0.0))
            totals[lora.name] = denoiser + use.weights[0], text_encoders + use.weights[1]
    return tuple(_lora_use(name, *weights) for name, weights in totals.items())


def _lora_use(name: str, weight: float, text_encoder_weight: float) -> LoraUse:
    other = None if text_encoder_weight == weight else float(text_encoder_weight)
    return LoraUse(name=name, weight=float(weight), text_encoder_weight=other)


def check_loras(loras: Iterable[LoraUse], model: ModelSpec, facts: FamilyFacts, problems: Problems) -> None:
    """Note a family without LoRAs, and every sum of weights that is out of bounds."""
    for lora in loras:
        if not facts.takes_loras:
            message = f"not available: LoRAs for models of {model.family}"
            problems.note("loras", Problem(message, ProblemCode.UNAVAILABLE))
        odd = next((each for each in lora.weights if not -LORA_WEIGHT_MAX <= each <= LORA_WEIGHT_MAX), None)
        if odd is not None:
            bounds = f"from {-LORA_WEIGHT_MAX:g} to {LORA_WEIGHT_MAX:g}"
            message = f"the weight of {lora.name!r} must be {bounds}, and is {odd:g}"
            problems.note("loras", Problem(message, ProblemCode.OUT_OF_RANGE, -LORA_WEIGHT_MAX, LORA_WEIGHT_MAX))

"""The list of timm's models that the gateway reads is that of the timm that is installed."""

from __future__ import annotations

import json

import pytest

from models.catalog.timm_models import PATH, timm_models, timm_weights
from models.vision.timm_import import import_timm


def test_the_list_has_the_models_and_weights_of_the_installed_timm() -> None:
    """``scripts/list_timm_models.py`` writes it anew after an upgrade."""
    timm = import_timm()
    assert json.loads(PATH.read_text())["timm"] == timm.__version__
    assert list(timm_models()) == timm.list_models()
    ours = {f"{model.name}.{each.tag}" for model in timm_models().values() for each in model.pretrained}
    assert ours == set(timm.list_models(pretrained=True))


@pytest.mark.parametrize("name", ["resnet18", "test_vit.r160_in1k"])
def test_an_entry_says_what_the_model_is(name: str) -> None:
    timm = import_timm()
    made, config = timm.create_model(name), timm.get_pretrained_cfg(name)
    found = timm_weights(name)
    assert found is not None and found[1] is not None
    model, weights = found
    assert model.parameters == sum(each.numel() for each in made.parameters())
    assert (weights.repository, weights.licence) == (config.hf_hub_id, config.license)
    assert (weights.classes, weights.input_size) == (config.num_classes, config.input_size)

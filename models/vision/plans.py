"""The plans of the job kinds that see: from the images of a job to its JSON result."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import normalize

from models.catalog.catalog import Catalog
from models.catalog.vision import VisionSpec
from models.deploy.store import PackageStore
from models.diffusion.plans import LARGE_PX, Tools
from models.diffusion.work import Download, LoadRequest, Plan, PlanPart, Task, load, on_host, run
from models.errors import ModelUnavailable
from models.jobs.results import FileOutput, JobOutput, Json
from models.jobs.vision import (
    POOLED,
    ClassifyParams,
    DescribeModelParams,
    EmbedParams,
    SimilarityParams,
)
from models.vision.files import download, is_on_disk
from models.vision.model import EMBEDDING, FEATURES, LOGITS, VisionModel, load_vision_model, of_one_shape
from models.vision.texts import TextReader, load_text_reader
from models.vision.work import Seeing

LABELS_SHOWN_MAX = 1000
"""How many labels the description of a model has."""


def classify(task: Task, tools: Tools) -> Plan:
    """The most probable labels of an image."""
    params = task.params
    assert isinstance(params, ClassifyParams)
    model = yield from _load(task.catalog, params.model, tools)
    if not model.labels:
        raise ModelUnavailable(f"the vision model {params.model!r} has no classifier: use it for embed", "model")
    logits = yield from _see(model, [task.images[params.image]], LOGITS)
    probabilities = logits[0].sigmoid() if params.multi_label else logits[0].softmax(0)
    return JobOutput(document={"model": params.model, "labels": _best(model, probabilities, params.top_k)})


def embed(task: Task, tools: Tools) -> Plan:
    """The embedding of an image: a vector, or all features in a file."""
    params = task.params
    assert isinstance(params, EmbedParams)
    model = yield from _load(task.catalog, params.model, tools)
    is_pooled = params.output == POOLED
    outputs = yield from _see(model, [task.images[params.image]], EMBEDDING if is_pooled else FEATURES)
    if is_pooled:
        vector = normalize(outputs, dim=-1)[0] if params.normalize else outputs[0]
        return JobOutput(document={"model": params.model, "width": vector.numel(), "embedding": vector.tolist()})
    shape: list[Json] = list(outputs[0].shape)
    file = FileOutput("features.npy", "application/octet-stream", _npy(outputs[0]))
    return JobOutput(document={"model": params.model, "shape": shape}, files=(file,))


def compare(task: Task, tools: Tools) -> Plan:
    """The cosine similarity of an image with each of the others, and with each text."""
    params = task.params
    assert isinstance(params, SimilarityParams)
    model = yield from _load(task.catalog, params.model, tools)
    images = [task.images[source] for source in (params.image, *params.others)]
    vectors = normalize((yield from _see(model, images, EMBEDDING)), dim=-1)
    document: dict[str, Json] = {"model": params.model, "similarities": _likeness(vectors[1:], vectors[0])}
    if params.texts:
        reader = yield from load(_reader_request(model.spec))
        read = yield from on_host(lambda: reader.read(params.texts))
        document["text_similarities"] = _likeness(read, vectors[0])
    return JobOutput(document=document)


def describe(task: Task, tools: Tools) -> Plan:
    """What a model is: its architecture, its size, its preprocessing and its labels."""
    params = task.params
    assert isinstance(params, DescribeModelParams)
    model = yield from _load(task.catalog, params.model, tools)
    config, described = model.config, model.module.pretrained_cfg
    return JobOutput(
        document={
            "model": params.model,
            "architecture": described["architecture"],
            "parameters": sum(each.numel() for each in model.module.parameters()),
            "input_size": list(config["input_size"]),
            "interpolation": str(config["interpolation"]),
            "crop_pct": float(config["crop_pct"]),
            "mean": list(config["mean"]),
            "std": list(config["std"]),
            "features": model.width,
            "reads_texts": model.projection is not None,
            "classes": len(model.labels),
            "labels": [each.text for each in model.labels[:LABELS_SHOWN_MAX]],
            "licence": model.spec.licence or described.get("license") or "",
        }
    )


def _load(catalog: Catalog, name: str, tools: Tools) -> PlanPart[VisionModel]:
    spec = catalog.vision.get(name)
    if spec is None:
        raise ModelUnavailable(f"{name!r} is no longer in the catalog")
    return (yield from load(_request(spec, tools)))


def _request(spec: VisionSpec, tools: Tools) -> LoadRequest[VisionModel]:
    """Request the model of ``spec``, which is loaded anew when its entry, its weights or its packages have changed."""
    weights = spec.weights
    changed_at = None if weights is None or not weights.exists() else weights.stat().st_mtime_ns
    needs_download = Download(lambda: not is_on_disk(spec), partial(download, spec)) if spec.repository else None
    packages = None if tools.packages is None else PackageStore(tools.packages)
    deployed = None if packages is None else packages.version(spec.name)
    read = partial(_loaded, spec, tools.device, packages if deployed else None)
    return LoadRequest(("vision", spec, changed_at, deployed), f"vision model {spec.name}", read, needs_download)


def _loaded(spec: VisionSpec, device: torch.device, packages: PackageStore | None) -> VisionModel:
    model = load_vision_model(spec, device)
    if packages is None or device.type != "cpu":
        return model
    from models.deploy.vision import see_fastest

    return see_fastest(model, packages)


def _reader_request(spec: VisionSpec) -> LoadRequest[TextReader]:
    """Request the text side of the model of ``spec``, which is loaded when the first text is read."""
    assert spec.projection is not None
    read = partial(load_text_reader, spec, spec.projection)
    return LoadRequest(("texts", spec, spec.projection.stat().st_mtime_ns), f"text side of {spec.name}", read)


def _likeness(vectors: Tensor, other: Tensor) -> list[Json]:
    return [*(vectors @ other).clamp(-1, 1).tolist()]


def _see(model: VisionModel, images: list[Image], what: str) -> PlanPart[Tensor]:
    """``what`` of each of ``images``: float32 on the CPU, the images first."""
    is_long = any(image.width * image.height > LARGE_PX for image in images)
    inputs = yield from on_host(lambda: model.prepare(images), is_long=is_long)
    outputs: dict[int, Tensor] = {}
    for places in of_one_shape(inputs):
        read = yield from run(Seeing(model, torch.stack([inputs[place] for place in places]), what))
        outputs |= zip(places, read, strict=True)
    return torch.stack([outputs[place] for place in range(len(images))])


def _best(model: VisionModel, probabilities: Tensor, count: int) -> list[Json]:
    values, indexes = probabilities.topk(min(count, len(probabilities)))
    return [
        {
            "label": model.labels[index].text,
            "name": model.labels[index].name,
            "index": index,
            "probability": value,
        }
        for value, index in zip(values.tolist(), indexes.tolist(), strict=True)
    ]


def _npy(values: Tensor) -> bytes:
    file = io.BytesIO()
    np.save(file, values.numpy(), allow_pickle=False)
    return file.getvalue()

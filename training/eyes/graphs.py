"""Writes the two halves of the built-in vision model as ONNX graphs without weights, for processes without torch.

A graph names its weights as the safetensors files do, with the part before, so that each weight is shipped once:
``models.eyes.encoders`` gives them to ONNX Runtime when it opens the graph.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.functional import normalize

from models.eyes.encoders import IMAGE_GRAPH, TEXT_GRAPH
from models.vision.model import VisionModel
from models.vision.texts import TextReader
from training.eyes.network import INPUT_PX, MEAN, STD

_Shapes = tuple[dict[int, Any], ...]


class _Images(nn.Module):
    """Pixels [n, 3, INPUT_PX, INPUT_PX] in 0..255 to vectors of length 1 [n, width]."""

    def __init__(self, model: VisionModel) -> None:
        super().__init__()
        assert model.projection is not None
        self.model, self.image = model.module, _linear(model.projection)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.model.forward_features((pixels / 255 - MEAN) / STD)
        return normalize(self.image(self.model.forward_head(features, pre_logits=True)), dim=-1)


class _Texts(nn.Module):
    """Word embeddings [n, t, 384] and their mask [n, t] to vectors of length 1 [n, width]."""

    def __init__(self, reader: TextReader) -> None:
        super().__init__()
        self.encoder, self.text = reader.encoder, _linear(reader.projection)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        states = self.encoder(inputs_embeds=words, attention_mask=mask)[0]
        shown = mask[:, :, None].to(states.dtype)
        return normalize(self.text((states * shown).sum(1) / shown.sum(1)), dim=-1)


def write_graphs(model: VisionModel, reader: TextReader, target: Path) -> None:
    """Write the graphs of ``model`` and of its text side to the folder ``target``, which have no weights."""
    n, t = Dim.DYNAMIC, Dim.DYNAMIC
    pixels = torch.zeros(2, 3, INPUT_PX, INPUT_PX)
    _write(_Images(model), (pixels,), ({0: n},), target / IMAGE_GRAPH)
    words, mask = torch.zeros(2, 7, reader.encoder.config.hidden_size), torch.ones(2, 7, dtype=torch.int64)
    _write(_Texts(reader), (words, mask), ({0: n, 1: t}, {0: n, 1: t}), target / TEXT_GRAPH)


def _write(module: nn.Module, inputs: tuple[Tensor, ...], shapes: _Shapes, file: Path) -> None:
    # unoptimised: the optimiser renames weights that it folds, and ONNX Runtime folds them anyway
    program = torch.onnx.export(
        module.eval(), inputs, dynamo=True, dynamic_shapes=shapes, optimize=False, verbose=False
    )
    assert program is not None
    buffer = io.BytesIO()
    program.save(buffer)  # type: ignore[arg-type]  # typed for paths; a buffer works too
    graph = onnx.load_from_string(buffer.getvalue())
    _leave_out(graph, dict(module.named_parameters()) | _statistics(module))
    del graph.metadata_props[:]
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    file.write_bytes(graph.SerializeToString())


def _leave_out(graph: onnx.ModelProto, weights: Mapping[str, Tensor]) -> None:
    """Replace the values of ``weights`` in ``graph`` by a reference, which ONNX Runtime is given the values of."""
    for each in graph.graph.initializer:
        if each.name in weights:
            each.ClearField("raw_data")
            each.data_location = onnx.TensorProto.EXTERNAL
            each.external_data.add(key="location", value="weights")


def _statistics(module: nn.Module) -> dict[str, Tensor]:
    """The running means and variances of batch normalisation, which are weights as well."""
    return {name: each for name, each in module.named_buffers() if "running_" in name}


def _linear(matrix: Tensor) -> nn.Linear:
    made = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    made.weight = nn.Parameter(matrix, requires_grad=False)
    return made

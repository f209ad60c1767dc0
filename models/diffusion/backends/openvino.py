"""The UNet in OpenVINO, on a CPU: converted once and then read from the cache."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from models.diffusion.backends.cache import GraphCache
from models.diffusion.backends.exporting import (
    Exportable,
    Unusable,
    dynamic_axes,
    example_inputs,
    export_key,
    refuse,
    tracing,
)
from models.diffusion.backends.inputs import Inputs
from models.diffusion.denoiser import Conditioning, Residuals

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # disables telemetry at import
import openvino as ov  # noqa: E402
from openvino.frontend import FrontEndManager  # noqa: E402
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: E402

GRAPH = "unet.xml"
PRECISIONS = {"openvino": "f32", "openvino-bf16": "bf16"}


class OpenVinoDenoiser:
    """A converted UNet with its weights in the graph. One thread at a time may call it, while torch may run in others.

    Args:
        name: a key of ``PRECISIONS``, which gives the precision of the computation.
        graph: the file of the converted UNet.
    """

    relative_error: float | None = None

    def __init__(self, name: str, graph: Path) -> None:
        self.name = name
        model = ov.Core().compile_model(graph, "CPU", _properties(PRECISIONS[name]))
        self._request = model.create_infer_request()

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """See :meth:`Denoiser.denoise`."""
        refuse(residuals)
        named = Inputs(latents, timesteps, conditioning).named
        arrays = {name: tensor.contiguous().numpy() for name, tensor in named.items()}
        outputs = self._request.infer(arrays, share_inputs=True)  # the outputs are copies
        return torch.from_numpy(outputs[0])


def open_openvino(name: str, unet: Any, cache: GraphCache) -> OpenVinoDenoiser:
    """Open the UNet in OpenVINO, and convert it first if the cache does not have it; both precisions share one graph.

    Raises:
        Unusable: the UNet is not in float32 on a CPU, or the processor has no bfloat16 instructions.
        Exception: whatever OpenVINO raises.
    """
    if (unet.device.type, unet.dtype) != ("cpu", torch.float32):
        raise Unusable(f"it needs a float32 UNet on a CPU, not {unet.dtype} on {unet.device}")
    if PRECISIONS[name] == "bf16" and "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unusable("this processor has no bfloat16 instructions")
    key = export_key("openvino", ov.get_version(), unet)
    return OpenVinoDenoiser(name, cache.obtain(key, lambda folder: _convert(unet, folder)) / GRAPH)


def _convert(unet: Any, folder: Path) -> None:
    """Write the UNet's graph and weights, uncompressed, into ``folder``.

    These are the essential steps of ``ov.convert_model``, which would also silence all later warnings of the process.
    """
    example = example_inputs(unet)
    named = example.named
    frontend = FrontEndManager().load_by_framework("pytorch")
    with tracing():
        traced = TorchScriptPythonDecoder(Exportable(unet, example).eval(), example_input=tuple(named.values()))
        model = frontend.convert(frontend.load(traced))
    for port, name in zip(model.inputs, named, strict=True):
        port.get_tensor().set_names({name})
    model.reshape({name: _partial_shape(name, tensor) for name, tensor in named.items()})
    ov.save_model(model, folder / GRAPH, compress_to_fp16=False)


def _partial_shape(name: str, tensor: torch.Tensor) -> list[int]:
    return [-1 if axis in dynamic_axes(name) else length for axis, length in enumerate(tensor.shape)]


def _properties(precision: str) -> dict[str, Any]:
    """Properties against OpenVINO's defaults: bfloat16 where the processor supports it, and threads pinned to cores."""
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }

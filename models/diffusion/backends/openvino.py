"""The UNet in OpenVINO, on a CPU: converted once, read from the cache ever after."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from models.diffusion.backends.cache import GraphCache
from models.diffusion.backends.exporting import (
    Exportable,
    Unusable,
    example_inputs,
    export_key,
    refuse,
    tracing,
    varying,
)
from models.diffusion.backends.inputs import Inputs
from models.diffusion.denoiser import Conditioning, Residuals

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # or its import would tell its makers
import openvino as ov  # noqa: E402
from openvino.frontend import FrontEndManager  # noqa: E402
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: E402

GRAPH = "unet.xml"
PRECISIONS = {"openvino": "f32", "openvino-bf16": "bf16"}


class OpenVinoDenoiser:
    """A converted UNet, its weights frozen in the graph. One thread at a time may call it; torch may run beside it.

    Args:
        name: one of ``PRECISIONS``, which says how it computes.
        graph: the converted UNet's file.
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
    """The UNet in OpenVINO, converted first if the cache has no graph of it; both precisions share one graph.

    Raises:
        Unusable: not a float32 UNet on a CPU, or a processor that cannot do bfloat16.
        Exception: whatever OpenVINO has to say against the UNet.
    """
    if (unet.device.type, unet.dtype) != ("cpu", torch.float32):
        raise Unusable(f"it is for float32 on a CPU, and the UNet is {unet.dtype} on {unet.device}")
    if PRECISIONS[name] == "bf16" and "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unusable("this processor has no bfloat16 instructions")
    key = export_key("openvino", ov.get_version(), unet)
    return OpenVinoDenoiser(name, cache.obtain(key, lambda folder: _convert(unet, folder)) / GRAPH)


def _convert(unet: Any, folder: Path) -> None:
    """Write the UNet's graph and weights, uncompressed, into ``folder``.

    This is the heart of ``ov.convert_model``, which would also silence the process's warnings for good.
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
    return [-1 if axis in varying(name) else length for axis, length in enumerate(tensor.shape)]


def _properties(precision: str) -> dict[str, Any]:
    """Left to itself, OpenVINO computes in bfloat16 where the processor can, and ties its threads to cores."""
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }

"""The UNet in ONNX Runtime, on a CPU or a GPU: exported once and then read from the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
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

GRAPH = "unet.onnx"
OUTPUT = "output"
OPSET = 18
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
DTYPES = {torch.float32: np.float32, torch.float16: np.float16}


class OnnxRuntimeDenoiser:
    """An exported UNet with its weights in the graph; it reads and writes the memory of torch tensors directly.

    Args:
        graph: the file of the exported UNet.
        device: the device of the graph and of its inputs.
        channels: the number of channels of the output.
    """

    name = "onnxruntime"
    relative_error: float | None = None

    def __init__(self, graph: Path, device: torch.device, channels: int) -> None:
        provider = (PROVIDERS[device.type], {"device_id": device.index or 0} if device.type == "cuda" else {})
        self._session = ort.InferenceSession(graph, _options(), providers=[provider])
        self._channels = channels

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """See :meth:`Denoiser.denoise`."""
        refuse(residuals)
        named = {name: each.contiguous() for name, each in Inputs(latents, timesteps, conditioning).named.items()}
        output = latents.new_empty(len(latents), self._channels, *latents.shape[2:])
        binding = self._session.io_binding()
        for name, tensor in named.items():
            binding.bind_input(name, *_place(tensor))
        binding.bind_output(OUTPUT, *_place(output))
        if latents.is_cuda:
            torch.cuda.current_stream(latents.device).synchronize()  # ONNX Runtime uses another CUDA stream
        self._run(binding)
        return output

    def _run(self, binding: ort.IOBinding) -> None:
        try:
            self._session.run_with_iobinding(binding)
        except RuntimeError as error:
            if "Failed to allocate memory" in str(error):
                raise torch.OutOfMemoryError(str(error)) from error
            raise
        binding.synchronize_outputs()


def open_onnxruntime(name: str, unet: Any, cache: GraphCache) -> OnnxRuntimeDenoiser:
    """Open the UNet in ONNX Runtime, and export it first if the cache does not have it.

    Raises:
        Unusable: the installed ONNX Runtime cannot use the UNet's device or its dtype.
        Exception: whatever the exporter or ONNX Runtime raises.
    """
    if PROVIDERS.get(unet.device.type) not in ort.get_available_providers():
        raise Unusable(f"the installed ONNX Runtime cannot use {unet.device}")
    if unet.dtype not in DTYPES:
        raise Unusable(f"it does not support {unet.dtype}")
    key = export_key(name, ort.__version__, unet)
    folder = cache.obtain(key, lambda folder: _export(unet, folder))
    return OnnxRuntimeDenoiser(folder / GRAPH, unet.device, unet.config.out_channels)


def _export(unet: Any, folder: Path) -> None:
    """Write the UNet's graph and weights into ``folder``; weights beyond 2 GB are written to separate files."""
    example = example_inputs(unet)
    named = example.named
    with tracing():
        torch.onnx.export(
            Exportable(unet, example).eval(),
            tuple(named.values()),
            str(folder / GRAPH),  # the exporter takes no Path for more than 2 GB
            input_names=list(named),
            output_names=[OUTPUT],
            dynamic_axes={**{name: dynamic_axes(name) for name in named}, OUTPUT: dynamic_axes("latents")},
            opset_version=OPSET,
            dynamo=False,
        )


def _options() -> ort.SessionOptions:
    """As many threads as torch; idle threads sleep, while by default they would spin and take the cores."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _place(tensor: torch.Tensor) -> tuple[str, int, type, tuple[int, ...], int]:
    """The arguments by which ONNX Runtime binds the memory of a contiguous tensor."""
    device = tensor.device
    return device.type, device.index or 0, DTYPES[tensor.dtype], tuple(tensor.shape), tensor.data_ptr()

"""The UNet in ONNX Runtime, on a CPU or a GPU: exported once, read from the cache ever after."""

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
    example_inputs,
    export_key,
    refuse,
    tracing,
    varying,
)
from models.diffusion.backends.inputs import Inputs
from models.diffusion.denoiser import Conditioning, Residuals

GRAPH = "unet.onnx"
OUTPUT = "output"
OPSET = 18
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
DTYPES = {torch.float32: np.float32, torch.float16: np.float16}


class OnnxRuntimeDenoiser:
    """An exported UNet, its weights frozen in the graph; reads and writes torch's memory in place.

    Args:
        graph: the exported UNet's file.
        device: where it runs and where its inputs are.
        channels: of the output.
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
            torch.cuda.current_stream(latents.device).synchronize()  # ONNX Runtime has a stream of its own
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
    """The UNet in ONNX Runtime, exported first if the cache has no graph of it.

    Raises:
        Unusable: the installed ONNX Runtime cannot use the UNet's device, or its dtype is bfloat16.
        Exception: whatever the exporter or ONNX Runtime has to say against the UNet.
    """
    if PROVIDERS.get(unet.device.type) not in ort.get_available_providers():
        raise Unusable(f"the installed ONNX Runtime cannot use {unet.device}")
    if unet.dtype not in DTYPES:
        raise Unusable(f"it cannot take {unet.dtype}")
    key = export_key(name, ort.__version__, unet)
    folder = cache.obtain(key, lambda folder: _export(unet, folder))
    return OnnxRuntimeDenoiser(folder / GRAPH, unet.device, unet.config.out_channels)


def _export(unet: Any, folder: Path) -> None:
    """Write the UNet's graph and weights into ``folder``; beyond 2 GB the weights get files of their own."""
    example = example_inputs(unet)
    named = example.named
    with tracing():
        torch.onnx.export(
            Exportable(unet, example).eval(),
            tuple(named.values()),
            str(folder / GRAPH),  # beyond 2 GB the exporter takes no Path
            input_names=list(named),
            output_names=[OUTPUT],
            dynamic_axes={**{name: varying(name) for name in named}, OUTPUT: varying("latents")},
            opset_version=OPSET,
            dynamo=False,
        )


def _options() -> ort.SessionOptions:
    """As many threads as torch has; they sleep while there is nothing to do, where the default is to spin."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _place(tensor: torch.Tensor) -> tuple[str, int, type, tuple[int, ...], int]:
    """Where a contiguous tensor is, as ONNX Runtime wants to know it."""
    device = tensor.device
    return device.type, device.index or 0, DTYPES[tensor.dtype], tuple(tensor.shape), tensor.data_ptr()

"""Counts the memory that intermediate results take, for published shapes, without weights and without a GPU.

``python -m benchmarks.activations`` runs denoisers and decoders on tensors without numbers (torch's ``meta`` device),
and prints the largest sum of live intermediate results, in numbers for each pixel of the image. Attention counts as its
output only, as with fused kernels. :mod:`models.diffusion.memory_plan` has the results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FluxTransformer2DModel,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.diffusion.single_files.configurations import ARCHITECTURES, Architecture

META = torch.device("meta")
PX = 1024


class LiveTensors(TorchDispatchMode):
    """Notes the largest number of bytes that tensors made within the block, but not views of weights, took at once."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.peak_bytes = 0
        self._weights = {each.untyped_storage()._cdata for each in (*model.parameters(), *model.buffers())}
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and count what it made."""
        result = func(*args, **(kwargs or {}))
        self._live = {key: held for key, held in self._live.items() if not held[0].expired()}
        for made in tree_leaves(result):
            if isinstance(made, torch.Tensor):
                storage = made.untyped_storage()
                if storage._cdata in self._weights:
                    continue
                self._live.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._live.values()))
        return result


@contextmanager
def fused_attention() -> Iterator[None]:
    """Let attention make its output and nothing else."""
    original = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = lambda query, key, value, *_, **__: query.new_empty(
        *query.shape[:-1], value.shape[-1]
    )
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = original


def counted(build: Callable[[], Any], call: Callable[[Any], object]) -> float:
    """Numbers for each pixel at the peak of ``call`` with the float32 model that ``build`` makes."""
    with META:
        model = build().eval()
    live = LiveTensors(model)
    with torch.no_grad(), fused_attention(), live, META:
        call(model)
    return live.peak_bytes / 4 / PX**2


def numbers(*shape: int) -> torch.Tensor:
    """A tensor without numbers."""
    return torch.empty(*shape, device=META)


def unet_call(found: Architecture) -> Callable[[Any], object]:
    """One forward with one input."""
    width, more = found.context_width, found.unet.get("projection_class_embeddings_input_dim")
    ids = {2816: 6, 2560: 5}.get(more or 0, 0)
    added = {"text_embeds": numbers(1, 1280), "time_ids": numbers(1, ids)} if more else None
    return lambda unet: unet(
        numbers(1, 4, PX // 8, PX // 8),
        numbers(1),
        encoder_hidden_states=numbers(1, 77, width),
        added_cond_kwargs=added,
    )


def denoisers() -> Mapping[str, float]:
    """By the name of the shape."""
    found = {
        f"{each.family} {each.context_width}": counted(
            partial(UNet2DConditionModel.from_config, dict(each.unet)), unet_call(each)
        )
        for each in ARCHITECTURES
    }
    side, tokens = PX // 8, (PX // 16) ** 2
    found["flux"] = counted(
        lambda: FluxTransformer2DModel(guidance_embeds=True, num_layers=2, num_single_layers=2),
        lambda model: model(
            hidden_states=numbers(1, tokens, 64), timestep=numbers(1), guidance=numbers(1),
            encoder_hidden_states=numbers(1, 512, 4096), pooled_projections=numbers(1, 768),
            txt_ids=numbers(512, 3), img_ids=numbers(tokens, 3),
        ),
    )  # fmt: skip
    found["sd3"] = counted(
        lambda: SD3Transformer2DModel(
            num_layers=2, num_attention_heads=24, caption_projection_dim=1536, pos_embed_max_size=192
        ),
        lambda model: model(
            hidden_states=numbers(1, 16, side, side), timestep=numbers(1),
            encoder_hidden_states=numbers(1, 333, 4096), pooled_projections=numbers(1, 2048),
        ),
    )  # fmt: skip
    found["pixart-sigma"] = counted(
        lambda: PixArtTransformer2DModel(
            num_layers=2, sample_size=64, use_additional_conditions=False, caption_channels=4096
        ),
        lambda model: model(
            numbers(1, 4, side, side), timestep=numbers(1), encoder_hidden_states=numbers(1, 300, 4096),
            encoder_attention_mask=numbers(1, 300), added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        ),
    )  # fmt: skip
    return found


def decoder() -> float:
    """AutoencoderKL, whose decoder has one shape in all published models here."""
    vae = dict(ARCHITECTURES[0].vae)
    return counted(lambda: AutoencoderKL.from_config(vae), lambda model: model.decode(numbers(1, 4, PX // 8, PX // 8)))


def main() -> None:
    """Print all counts."""
    for name, count in (*denoisers().items(), ("decoder", decoder())):
        print(f"{name:24} {count:6.1f} numbers for each pixel")


if __name__ == "__main__":
    main()

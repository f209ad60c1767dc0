"""The residuals that ControlNets add to one forward; each image has its own ControlNets, weights, steps and modes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import ControlNetModel
from diffusers.image_processor import VaeImageProcessor
from PIL.Image import Image

from models.diffusion.denoiser import Conditioning, Residuals
from models.diffusion.stepping.transfer import send

_SOFTNESS = 0.825
"""The ratio of each residual's scale to that of the next deeper one, in the mode "prompt"."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlGuide:
    """One ControlNet and its condition image for one image (Zhang et al. 2023, arXiv 2302.05543)."""

    model: ControlNetModel
    condition: torch.Tensor
    """[1, 3, H, W], 0 to 1, from :func:`prepare_condition`; H and W are those of the drawn image in pixels."""
    weight: float = 1.0
    """The scale of the residuals: ``controlnet_conditioning_scale``."""
    start: float = 0.0
    """The share of the steps at which it starts: ``control_guidance_start``."""
    end: float = 1.0
    """The share of the steps at which it ends: ``control_guidance_end``."""
    mode: str = "balanced"
    """One of :data:`models.jobs.params.CONTROL_MODES`."""

    def is_active(self, step: int, steps: int) -> bool:
        """Whether it takes part in ``step``, from 0, of ``steps``: the whole step lies between start and end."""
        return step / steps >= self.start and (step + 1) / steps <= self.end

    @property
    def prompted_only(self) -> bool:
        """Whether it changes only the inputs with a prompt; always so for models that pool residuals (``shuffle``)."""
        return self.mode == "control" or bool(self.model.config.global_pool_conditions)

    def scales(self, count: int) -> torch.Tensor:
        """The scales [count] of the residuals, the shallowest first and the middle block's last.

        "balanced" scales all residuals by the weight. "prompt" makes shallow residuals smaller, by the factors of A1111
        (``sd-webui-controlnet``). "control" does so by the factors of ``guess_mode`` in diffusers, 0.1 to 1, except for
        models that pool residuals.
        """
        match self.mode:
            case "prompt":
                scales = _SOFTNESS ** torch.arange(count - 1, -1, -1)
            case "control" if not self.model.config.global_pool_conditions:
                scales = torch.logspace(-1, 0, count)
            case _:
                scales = torch.ones(count)
        return scales * self.weight


def prepare_condition(image: Image, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The condition image [1, 3, H, W], 0 to 1, as in diffusers; ``image`` has the size of the drawn image."""
    condition: torch.Tensor = VaeImageProcessor(do_convert_rgb=True, do_normalize=False).preprocess(image)
    return condition.contiguous().to(device=device, dtype=dtype)


@dataclass(frozen=True)
class Share:
    """One row's part of a forward."""

    inputs: int
    """1; with classifier-free guidance 2 or more, the negative prompt's first."""
    guides: Sequence[ControlGuide]
    step: int
    """The row's next step, counted from 0."""
    steps: int

    @property
    def active(self) -> list[ControlGuide]:
        """The guides that take part in this step."""
        return [guide for guide in self.guides if guide.is_active(self.step, self.steps)]


def residuals(
    shares: Sequence[Share], latents: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning
) -> Residuals | None:
    """The summed residuals of all rows' ControlNets for one forward; ``None`` if no ControlNet is active.

    Each ControlNet runs once, for the inputs that it changes, and each input's residuals have their own scale. All
    other inputs get zeros, which do not change their output.

    Args:
        shares: of all rows, also those without ControlNets, in the order of their inputs.
        latents: [N, channels, h, w], the UNet's input; the further channels of inpainting models come last.
        timesteps: [N].
        conditioning: of N inputs.

    Raises:
        torch.OutOfMemoryError: the batch does not fit.
    """
    total: list[torch.Tensor] = []
    for model, guided in _by_model(shares).items():
        added = _run(model, guided, latents, timesteps, conditioning)
        total = [before + more for before, more in zip(total, added, strict=True)] if total else added
    return Residuals(tuple(total[:-1]), total[-1]) if total else None


def _by_model(shares: Sequence[Share]) -> dict[ControlNetModel, list[tuple[int, ControlGuide]]]:
    """For each ControlNet the indices of the inputs that it changes, each with its guide."""
    guided: dict[ControlNetModel, list[tuple[int, ControlGuide]]] = {}
    end = 0
    for share in shares:
        start, end = end, end + share.inputs
        for guide in share.active:
            is_partial = guide.prompted_only and share.inputs > 1
            indices = range(start + 1 if is_partial else start, end)
            guided.setdefault(guide.model, []).extend((number, guide) for number in indices)
    return guided


def _run(
    model: ControlNetModel,
    guided: Sequence[tuple[int, ControlGuide]],
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    conditioning: Conditioning,
) -> list[torch.Tensor]:
    """The residuals [N, ...] of one ControlNet for all inputs, the middle block's last."""
    chosen = send([number for number, _ in guided], torch.int64, latents.device)
    down, middle = model(
        latents[chosen, : model.config.in_channels],
        timesteps[chosen],
        encoder_hidden_states=conditioning.hidden_states[chosen],
        controlnet_cond=torch.cat([guide.condition for _, guide in guided]),
        added_cond_kwargs={name: tensor[chosen] for name, tensor in conditioning.extra_kwargs.items()},
        return_dict=False,
    )
    raw = [*down, middle]
    scales = send([guide.scales(len(raw)).tolist() for _, guide in guided], torch.float32, latents.device)
    return [
        _spread((part * scale.view(-1, 1, 1, 1)).to(part.dtype), chosen, len(latents))
        for part, scale in zip(raw, scales.unbind(1), strict=True)
    ]


def _spread(part: torch.Tensor, chosen: torch.Tensor, count: int) -> torch.Tensor:
    """``part`` at the ``chosen`` inputs of [count, ...], zeros elsewhere; an input that is chosen twice gets a sum."""
    return part.new_zeros(count, *part.shape[1:]).index_add_(0, chosen, part)

"""What ControlNets add to one forward of the UNet, each image by its own ControlNets, weights, steps and mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import ControlNetModel
from diffusers.image_processor import VaeImageProcessor
from PIL.Image import Image

from models.diffusion.denoiser import Conditioning, Residuals

_SOFTNESS = 0.825
"""By how much each residual is weaker than the next deeper one, where the prompt is more important."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlGuide:
    """One ControlNet and the condition image by which it steers one image (Zhang et al. 2023, arXiv 2302.05543)."""

    model: ControlNetModel
    condition: torch.Tensor
    """[1, 3, H, W], 0..1, as :func:`prepare_condition` makes it; H and W are the pixels of the image drawn."""
    weight: float = 1.0
    """By which the residuals are multiplied: ``controlnet_conditioning_scale``."""
    start: float = 0.0
    """The share of the steps before which it does nothing: ``control_guidance_start``."""
    end: float = 1.0
    """The share of the steps after which it does nothing: ``control_guidance_end``."""
    mode: str = "balanced"
    """One of :data:`models.jobs.params.CONTROL_MODES`."""

    def is_active(self, step: int, steps: int) -> bool:
        """Whether it takes part in ``step``, from 0, of ``steps``: if all of the step lies from start to end."""
        return step / steps >= self.start and (step + 1) / steps <= self.end

    @property
    def prompted_only(self) -> bool:
        """Whether it leaves the input without the prompt alone. So do all that pool their residuals (``shuffle``)."""
        return self.mode == "control" or bool(self.model.config.global_pool_conditions)

    def scales(self, count: int) -> torch.Tensor:
        """What the ``count`` residuals are multiplied by, the shallowest first and the middle block's last; [count].

        Balanced: all by the weight. Prompt: the shallow ones less, by A1111's factors (``sd-webui-controlnet``).
        Control: the shallow ones less, by those of diffusers' ``guess_mode``, 0.1 to 1, unless they are pooled.
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
    """The condition image [1, 3, H, W], 0..1, as diffusers' ControlNet pipelines prepare it; RGB, of the drawn size."""
    condition: torch.Tensor = VaeImageProcessor(do_convert_rgb=True, do_normalize=False).preprocess(image)
    return condition.contiguous().to(device=device, dtype=dtype)


@dataclass(frozen=True)
class Share:
    """One row's part of a forward."""

    inputs: int
    """2 under classifier-free guidance, first without the prompt and then with it; else 1."""
    guides: Sequence[ControlGuide]
    step: int
    """The row's present one, from 0."""
    steps: int

    @property
    def active(self) -> list[ControlGuide]:
        """The guides that take part."""
        return [guide for guide in self.guides if guide.is_active(self.step, self.steps)]


def residuals(
    shares: Sequence[Share], latents: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning
) -> Residuals | None:
    """What all rows' ControlNets add to the UNet's forward; ``None`` if none is active.

    Each ControlNet runs once, on the inputs that it steers; their residuals are scaled one by one and added up. All
    other inputs get zeros, which leave them exactly as they are.

    Args:
        shares: of all rows, with ControlNets and without, in the order of their inputs.
        latents: [N, channels, h, w], the UNet's own input; what it takes beside the latents for inpainting comes last.
        timesteps: [N].
        conditioning: of N inputs.

    Raises:
        torch.OutOfMemoryError: the batch does not fit.
    """
    total: list[torch.Tensor] = []
    for model, steered in _by_model(shares).items():
        added = _run(model, steered, latents, timesteps, conditioning)
        total = [before + more for before, more in zip(total, added, strict=True)] if total else added
    return Residuals(tuple(total[:-1]), total[-1]) if total else None


def _by_model(shares: Sequence[Share]) -> dict[ControlNetModel, list[tuple[int, ControlGuide]]]:
    """For each ControlNet the inputs that it steers, each with the guide that says how."""
    steered: dict[ControlNetModel, list[tuple[int, ControlGuide]]] = {}
    end = 0
    for share in shares:
        start, end = end, end + share.inputs
        for guide in share.active:
            reached = range(end - 1 if guide.prompted_only else start, end)
            steered.setdefault(guide.model, []).extend((number, guide) for number in reached)
    return steered


def _run(
    model: ControlNetModel,
    steered: Sequence[tuple[int, ControlGuide]],
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    conditioning: Conditioning,
) -> list[torch.Tensor]:
    """One ControlNet's residuals for all inputs, [N, ...] each, the middle block's last."""
    chosen = torch.tensor([number for number, _ in steered], device=latents.device)
    down, middle = model(
        latents[chosen, : model.config.in_channels],
        timesteps[chosen],
        encoder_hidden_states=conditioning.hidden_states[chosen],
        controlnet_cond=torch.cat([guide.condition for _, guide in steered]),
        added_cond_kwargs={name: tensor[chosen] for name, tensor in conditioning.further.items()},
        return_dict=False,
    )
    raw = [*down, middle]
    scales = torch.stack([guide.scales(len(raw)) for _, guide in steered]).to(latents.device)
    return [
        _spread((part * scale.view(-1, 1, 1, 1)).to(part.dtype), chosen, len(latents))
        for part, scale in zip(raw, scales.unbind(1), strict=True)
    ]


def _spread(part: torch.Tensor, chosen: torch.Tensor, count: int) -> torch.Tensor:
    """[count, ...], zeros but for ``part`` at the ``chosen`` inputs; an input that is chosen twice gets the sum."""
    return part.new_zeros(count, *part.shape[1:]).index_add_(0, chosen, part)

"""Scenes: renderings turned, scaled and placed on grounds, with the faults that images have, a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from training.eyes.renderings import NONE, Renderings
from training.house.images import GROUNDS as NAMED_GROUNDS

GROUNDS = tuple(NAMED_GROUNDS)
GENTLE = 0.5
"""How many of the scenes show their icon nearly as it is: these are learnt first, and the others from them."""


@dataclass(frozen=True)
class Scenes:
    """A batch of images, and what each shows."""

    images: Tensor
    """float32 [B, 3, size, size] in 0..1."""
    concepts: Tensor
    colours: Tensor
    grounds: Tensor
    """[B], the place in ``GROUNDS``, or ``NONE``."""


class Painter:
    """Paints scenes of ``renderings`` at ``size_px``; equal generators paint equal scenes."""

    def __init__(self, renderings: Renderings, size_px: int) -> None:
        self._renderings, self._size = renderings, size_px
        if size_px == renderings.pixels.shape[-1]:
            self._pixels = renderings.pixels
        else:
            self._pixels = torch.cat([
                interpolate(part.float(), size=(size_px, size_px), mode="bilinear", antialias=True)
                .round().clamp(0, 255).to(torch.uint8)
                for part in renderings.pixels.split(512)
            ])  # fmt: skip

    def paint(self, rows: Tensor, generator: torch.Generator) -> Scenes:
        """One scene of each of the renderings ``rows``."""
        dice = _Dice(len(rows), generator)
        icons = self._pixels[rows].float() / 255
        icons[:, :3] *= icons[:, 3:]
        placed = grid_sample(icons, affine_grid(_placings(dice), list(icons.shape), align_corners=False),
                             align_corners=False)  # fmt: skip
        ground, grounds = _grounds(dice, self._size)
        images = placed[:, :3] + ground * (1 - placed[:, 3:])
        own_colours = self._renderings.colours[rows] == NONE
        images = _recoloured(images, dice, own_colours & (grounds == NONE))
        images = _cut(_noisy(_blurred(images, dice), dice), dice)
        return Scenes(images.clamp(0, 1), self._renderings.concepts[rows], self._renderings.colours[rows], grounds)


class _Dice:
    """Random numbers for a batch, each of shape [B, ...]."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(self.count, *shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.generator)

    def chance(self, share: float) -> Tensor:
        return torch.rand(self.count, generator=self.generator) < share

    def whole(self, below: int) -> Tensor:
        return torch.randint(0, below, (self.count,), generator=self.generator)


def _placings(dice: _Dice) -> Tensor:
    """Matrices [B, 2, 3] from places in the image to those in the icon: mirrored, turned, scaled, sheared, shifted."""
    strength = torch.where(dice.chance(GENTLE), 0.25, 1.0)
    scale, stretch = 1 + dice.between(-0.25, 0.1) * strength, (dice.between(-0.1, 0.1) * strength).exp()
    angle = dice.normal() * 0.1 * strength
    cosine, sine, shear = angle.cos(), angle.sin(), dice.between(-0.1, 0.1) * strength
    mirror = torch.where(dice.chance(0.5), -1.0, 1.0)
    room = (1.05 - scale).abs() + 0.03 * strength
    across, down = dice.between(-1, 1) * room, dice.between(-1, 1) * room
    first = torch.stack([cosine * mirror / (scale * stretch), (shear - sine) / scale], 1)
    second = torch.stack([sine * mirror / scale, cosine * stretch / scale], 1)
    turned = torch.stack([first, second], 1)
    return torch.cat([turned, -turned @ torch.stack([across, down], 1)[:, :, None]], 2)


def _grounds(dice: _Dice, size_px: int) -> tuple[Tensor, Tensor]:
    """Grounds [B, 3, size, size] and their names: white, one of the named, any colour, a gradient, or clouds."""
    kind = dice.between(0, 1)
    named = dice.whole(len(GROUNDS))
    palette = torch.tensor(list(NAMED_GROUNDS.values())) / 255
    is_named = (kind >= 0.5) & (kind < 0.88)
    flat = torch.where(is_named[:, None], palette[named] + dice.between(-0.05, 0.05, 3), dice.between(0, 1, 3))
    flat = torch.where((kind < 0.5)[:, None], dice.between(0.97, 1, 3), flat)
    clouds = dice.normal(3, 4, 4) * torch.where(kind >= 0.94, dice.between(0.05, 0.25), 0)[:, None, None, None]
    ground = flat[:, :, None, None] + interpolate(clouds, size=(size_px, size_px), mode="bicubic")
    return ground.clamp(0, 1), torch.where(is_named, named, NONE)


def _recoloured(images: Tensor, dice: _Dice, is_free: Tensor) -> Tensor:
    """Brightness and contrast of all; where captions name no colour, also hues that move, and images without colour."""
    mixing = torch.eye(3) + dice.normal(3, 3) * torch.where(is_free & dice.chance(0.3), 0.14, 0.02)[:, None, None]
    gray = torch.tensor([0.3, 0.59, 0.11]).expand(dice.count, 3, 3)
    mixing = torch.where((is_free & dice.chance(0.1))[:, None, None], gray, mixing)
    mixed = torch.einsum("bij,bjhw->bihw", mixing, images)
    mean = mixed.mean((1, 2, 3), keepdim=True)
    contrast, brightness = dice.between(0.65, 1.25, 1, 1, 1), dice.between(-0.1, 0.1, 1, 1, 1)
    return (mixed - mean) * contrast + mean + brightness


def _blurred(images: Tensor, dice: _Dice) -> Tensor:
    """A third of the images at less than their resolution, as of a small file or an autoencoder."""
    size = images.shape[-1]
    share = float(torch.empty(1).uniform_(0.4, 0.8, generator=dice.generator))
    chosen = dice.chance(0.35)
    small = interpolate(images[chosen], scale_factor=share, mode="bilinear", antialias=True)
    images = images.clone()
    images[chosen] = interpolate(small, size=(size, size), mode="bicubic")
    return images


def _noisy(images: Tensor, dice: _Dice) -> Tensor:
    strength = torch.where(dice.chance(0.2), dice.between(0, 0.05), 0)
    return images + torch.randn(images.shape, generator=dice.generator) * strength[:, None, None, None]


def _cut(images: Tensor, dice: _Dice) -> Tensor:
    """One rectangle of an eighth of the images in one colour, so that no single part is relied on."""
    size = images.shape[-1]
    left, top = dice.between(0, 0.8) * size, dice.between(0, 0.8) * size
    width, height = dice.between(0.1, 0.3) * size, dice.between(0.1, 0.3) * size
    places = torch.arange(size)
    columns = (places >= left[:, None]) & (places < (left + width)[:, None])
    rows = (places >= top[:, None]) & (places < (top + height)[:, None])
    inside = rows[:, :, None] & columns[:, None, :] & dice.chance(0.12)[:, None, None]
    return torch.where(inside[:, None], dice.between(0, 1, 3, 1, 1), images)

"""Training of the AutoencoderTiny that encodes to and decodes from the codec's latents."""

from __future__ import annotations

import logging
import random
import time
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file

from models.catalog.concepts import Concept
from training.house import images
from training.house.codec import CHANNELS, PATCH_PX, PatchCodec
from training.house.concepts import caption

log = logging.getLogger(__name__)

LATENT_SCALE = 3.0
"""The decoder limits its input to -3..3 with tanh, so latents are divided by this factor first."""
LATENT_NOISE = 0.2
"""Largest deviation of the noise added to training latents; it teaches the decoder to correct the UNet's errors."""
PEAK_RATE = 2e-3
CROP_PX = 64
"""The autoencoder is convolutional, so it trains on crops, at a quarter of the cost."""


def build_autoencoder() -> AutoencoderTiny:
    """An autoencoder that scales by 8; its encoder, used for img2img only, has fewer blocks than its decoder."""
    return AutoencoderTiny(
        latent_channels=CHANNELS,
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(3, 3, 2, 1),
        scaling_factor=LATENT_SCALE,
    )


def draw_images(concepts: list[Concept], icons: Path, per_concept: int) -> torch.Tensor:
    """Augmented images, ``per_concept`` of each concept, RGB uint8 [N, 3, 128, 128]."""
    rng = random.Random(2)
    rendered = images.render(icons, concepts)
    drawn = [draw_sample(concept, rendered[concept.icon], rng)[0] for concept in concepts for _ in range(per_concept)]
    return torch.stack(drawn)


def draw_sample(concept: Concept, image: images.PixelArray, rng: random.Random) -> tuple[torch.Tensor, str]:
    """One augmented sample: RGB uint8 [3, 128, 128] and its caption."""
    colour = rng.choice(list(images.COLOURS)) if rng.random() < 0.22 else None
    on_ground = rng.random() < 0.2 or colour == "white"
    ground = rng.choice([name for name in images.GROUNDS if name != colour]) if on_ground else None
    shown = images.recolour(image, colour) if colour else image
    flat = torch.from_numpy(images.compose(shown, rng, ground)).permute(2, 0, 1)
    return (flat * 255).round().to(torch.uint8), caption(concept, rng, colour, ground)


def train_autoencoder(drawn: torch.Tensor, codec: PatchCodec, path: Path, steps: int, batch: int = 16) -> None:
    """Train for ``steps`` and write the weights to ``path``; return at once if ``path`` exists."""
    if path.exists():
        return
    autoencoder = build_autoencoder().train()
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps, pct_start=0.05)
    generator = torch.Generator().manual_seed(3)
    started = time.monotonic()
    for step in range(steps):
        loss, decoded_error = _losses(autoencoder, _draw_crops(drawn, batch, generator), codec, generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        if step % 100 == 0:
            log.info("decoder step %d  %.2f dB  %.1f s", step, -10 * decoded_error.log10().item(),
                     time.monotonic() - started)  # fmt: skip
    save_file(autoencoder.state_dict(), path)


def _draw_crops(drawn: torch.Tensor, batch: int, generator: torch.Generator) -> torch.Tensor:
    """Random crops on the grid of patches, in -1..1 [batch, 3, CROP_PX, CROP_PX]."""
    rows = torch.randint(0, len(drawn), (batch,), generator=generator).tolist()
    places = (drawn.shape[-1] - CROP_PX) // PATCH_PX + 1
    corners = (torch.randint(0, places, (batch, 2), generator=generator) * PATCH_PX).tolist()
    crops = [drawn[row, :, y : y + CROP_PX, x : x + CROP_PX] for row, (y, x) in zip(rows, corners, strict=True)]
    return torch.stack(crops).float() / 127.5 - 1


def _losses(
    autoencoder: AutoencoderTiny, shown: torch.Tensor, codec: PatchCodec, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss to minimise, and the decoder's mean squared error for images in 0..1."""
    latents = codec.encode(shown)
    strength = torch.rand(len(shown), 1, 1, 1, generator=generator) * LATENT_NOISE
    noisy = latents + strength * torch.randn(latents.shape, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        decoded = autoencoder.decoder(noisy / LATENT_SCALE).float()
        encoded = autoencoder.encoder(shown).float()
    difference = decoded - shown
    edges = _edges(decoded) - _edges(shown)
    loss = difference.abs().mean() + difference.square().mean() + edges.abs().mean()
    return loss + (encoded - latents / LATENT_SCALE).square().mean(), (difference.detach() / 2).square().mean()


def _edges(shown: torch.Tensor) -> torch.Tensor:
    """Differences to the neighbours on the right and below, [N, 6, H - 1, W - 1]."""
    corner = shown[..., :-1, :-1]
    return torch.cat([shown[..., :-1, 1:] - corner, shown[..., 1:, :-1] - corner], 1)


def load_autoencoder(path: Path) -> AutoencoderTiny:
    autoencoder = build_autoencoder()
    autoencoder.load_state_dict(load_file(path))
    return autoencoder.eval()

"""Train the built-in checkpoint: ``python -m training.house.train --icons icons.json --work build/house``.

The icons come from the npm package ``@iconify-json/noto`` (Noto Emoji, Apache-2.0). The four stages are images and text
states, the UNet, the decoder, and the shipped pipeline folder. Each writes its result to the work folder, so that an
interrupted run can be resumed.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from models.catalog.concepts import Concept, load_concepts
from training.house import codec, decoder, images, text, unet
from training.house.decoder import draw_sample
from training.house.export import export

log = logging.getLogger("training.house.train")

SAMPLES_PER_WEIGHT = 170
PEAK_RATE = 1e-3
WARMUP_STEPS = 200
DECAY_FROM = 0.6
"""The share of all samples after which the learning rate begins to fall."""
EMA_DECAY = 0.995
CAPTION_DROPOUT = 0.1


@dataclass(frozen=True)
class Prepared:
    """The UNet's training set, in memory."""

    latents: torch.Tensor
    """[N, CHANNELS, 16, 16], bfloat16."""
    captions: torch.Tensor
    """[N], the row of ``states`` for each sample."""
    states: torch.Tensor
    """[M, MAX_TOKENS, 384], bfloat16; row 0 is the empty caption."""


def prepare(icons: Path, work: Path) -> Prepared:
    """Render, caption and encode the training set; later calls read the result from ``work``."""
    path = work / "prepared.safetensors"
    if not path.exists():
        _prepare(load_concepts(), icons, work, path)
    return Prepared(**load_file(path))


def _prepare(concepts: list[Concept], icons: Path, work: Path, path: Path) -> None:
    rng = random.Random(0)
    rendered = images.render(icons, concepts)
    drawn = [draw_sample(concept, rendered[concept.icon], rng) for concept in concepts
             for _ in range(concept.weight * SAMPLES_PER_WEIGHT)]  # fmt: skip
    patches = codec.PatchCodec.fit(torch.stack([image for image, _ in drawn[::20]]).float() / 127.5 - 1)
    patches.save(work / "codec.safetensors")
    latents = [patches.encode(image[None].float() / 127.5 - 1)[0].bfloat16() for image, _ in drawn]
    rows = {words: row for row, words in enumerate(dict.fromkeys(["", *(words for _, words in drawn)]))}
    text.prune(text.minilm_folder(), work / "text_encoder")
    tokenizer, model = text.load(work / "text_encoder")
    text.standardise(model, text.encode(tokenizer, model, random.Random(1).sample(list(rows), 2000)))
    model.save_pretrained(work / "text_encoder")
    log.info("encoding %d captions of %d samples", len(rows), len(drawn))
    states = text.encode(tokenizer, model, rows).bfloat16()
    captions = torch.tensor([rows[words] for _, words in drawn])
    save_file({"latents": torch.stack(latents), "captions": captions, "states": states}, path)


class DenoiserTraining:
    """The UNet, its optimiser and the moving average of its weights; saved to and resumed from one folder."""

    def __init__(self, prepared: Prepared, folder: Path, device: str, batch: int, compiled: bool) -> None:
        self.prepared, self.folder, self.device, self.batch = prepared, folder, device, batch
        self.unet = unet.training_mode(unet.build_unet()).to(device)
        self.forward = torch.compile(self.unet) if compiled else self.unet
        self.ema = [parameter.detach().clone() for parameter in self.unet.parameters()]
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99), fused=True)
        self.alphas_cumprod = unet.build_scheduler().alphas_cumprod.to(device)
        self.generator = torch.Generator()
        self.steps = self.samples = 0
        if (folder / "state.pt").exists():
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self.folder / "state.pt", map_location=self.device, weights_only=True)
        self.unet.load_state_dict(state["unet"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema = [average.detach() for average in state["ema"]]
        self.steps, self.samples = state["steps"], state["samples"]
        self.generator.manual_seed(self.steps)

    def save(self) -> None:
        """Write the whole state atomically, by a rename."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / "state.partial"
        torch.save({"unet": self.unet.state_dict(), "optimizer": self.optimizer.state_dict(), "ema": self.ema,
                    "steps": self.steps, "samples": self.samples}, partial)  # fmt: skip
        partial.replace(self.folder / "state.pt")

    def step(self, rate: float) -> torch.Tensor:
        """One optimiser step on a random batch; returns rows of (timestep, unweighted loss) [batch, 2]."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * min(1.0, (self.steps + 1) / WARMUP_STEPS)
        rows = torch.randint(0, len(self.prepared.latents), (self.batch,), generator=self.generator)
        captions = self.prepared.captions[rows]
        captions[torch.rand(self.batch, generator=self.generator) < CAPTION_DROPOUT] = 0
        latents = self.prepared.latents[rows].float().to(self.device)
        states = self.prepared.states[captions].to(self.device)
        timesteps = unet.draw_timesteps(self.batch, self.generator).to(self.device)
        with torch.autocast(self.device, torch.bfloat16):
            loss, errors = unet.velocity_losses(
                self.forward, self.alphas_cumprod, latents, states.float(), timesteps, torch.randn_like(latents)
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, list(self.unet.parameters()), 1 - EMA_DECAY)
        self.steps, self.samples = self.steps + 1, self.samples + self.batch
        return torch.stack([timesteps.float(), errors], 1)

    def averaged_unet(self) -> UNet2DConditionModel:
        """A copy of the UNet with the averaged weights."""
        copy = unet.build_unet()
        for parameter, average in zip(copy.parameters(), self.ema, strict=True):
            parameter.data.copy_(average)
        return copy.eval()


def rate_at(share: float) -> float:
    """The learning rate after ``share`` (0..1) of the samples: constant, then a cosine down to 1/50."""
    if share < DECAY_FROM:
        return PEAK_RATE
    falling = (1 + torch.cos(torch.tensor(torch.pi * min(1.0, (share - DECAY_FROM) / (1 - DECAY_FROM))))) / 2
    return PEAK_RATE * (0.02 + 0.98 * falling.item())


def train_denoiser(training: DenoiserTraining, samples: int, save_every_s: float) -> None:
    """Train until ``samples`` have been seen in total, over all runs; log and save periodically."""
    saved_at = logged_at = time.monotonic()
    recent: list[torch.Tensor] = []
    while training.samples < samples:
        recent.append(training.step(rate_at(training.samples / samples)))
        if len(recent) * training.batch >= 4096:
            rows, now = torch.cat(recent), time.monotonic()
            noisy = rows[rows[:, 0] > 800, 1].mean().item()
            log.info("samples %d  loss %.4f  loss at t > 800 %.4f  %.1f samples/s", training.samples,
                     rows[:, 1].mean().item(), noisy, len(rows) / (now - logged_at))  # fmt: skip
            recent, logged_at = [], now
        if time.monotonic() - saved_at > save_every_s:
            training.save()
            saved_at = time.monotonic()
    training.save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--icons", type=Path, required=True, help="icons.json of @iconify-json/noto")
    parser.add_argument("--work", type=Path, default=Path("build/house"), help="folder for the results of the stages")
    parser.add_argument("--samples", type=int, default=450_000, help="samples that the UNet is trained on, in total")
    parser.add_argument("--decoder-steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 is the default of torch")
    parser.add_argument(
        "--compile", action="store_true", help="compile the UNet: takes minutes, then trains 1.5x as fast"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    prepared = prepare(options.icons, options.work)
    training = DenoiserTraining(prepared, options.work, options.device, options.batch, options.compile)
    train_denoiser(training, options.samples, 120)
    finish(options.icons, options.work, training, options.decoder_steps)


def finish(icons: Path, work: Path, training: DenoiserTraining, decoder_steps: int) -> None:
    """Train the decoder and write the pipeline folder to ``work``/checkpoint."""
    patches = codec.PatchCodec.load(work / "codec.safetensors")
    drawn = decoder.draw_images(load_concepts(), icons, per_concept=20)
    decoder.train_autoencoder(drawn, patches, work / "autoencoder.safetensors", decoder_steps)
    autoencoder = decoder.load_autoencoder(work / "autoencoder.safetensors")
    export(work / "text_encoder", autoencoder, training.averaged_unet(), work / "checkpoint")


if __name__ == "__main__":
    main()

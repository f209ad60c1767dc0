"""`/imagine`: images from a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discord import app_commands

from ..rules import MAX_COUNT
from .options import SIZE_CHOICES, Interaction, autocomplete, with_defaults

if TYPE_CHECKING:
    from ..bot import PhotogramBot


def add_to(bot: PhotogramBot) -> None:
    @bot.tree.command(description="Generate images from a prompt")
    @app_commands.describe(
        prompt="What the image shows", model="The model", size="The aspect ratio", style="A style preset",
        sampler="The sampler", steps="Denoising steps", seed="The same seed gives the same image",
        negative="What the image must not contain", enhance="Let the language model rewrite the prompt",
        count="How many images", lora="A LoRA", lora_weight="How strong the LoRA is",
    )  # fmt: skip
    @app_commands.choices(size=SIZE_CHOICES)
    @app_commands.autocomplete(
        model=autocomplete(bot, "model"), style=autocomplete(bot, "style"), sampler=autocomplete(bot, "sampler"),
        lora=autocomplete(bot, "lora"),
    )  # fmt: skip
    async def imagine(
        interaction: Interaction,
        prompt: app_commands.Range[str, 1, 4000],
        model: str | None = None,
        size: str | None = None,
        style: str | None = None,
        sampler: str | None = None,
        steps: app_commands.Range[int, 1, 150] | None = None,
        seed: app_commands.Range[int, 0, 2**53 - 1] | None = None,
        negative: str | None = None,
        enhance: bool | None = None,
        count: app_commands.Range[int, 1, MAX_COUNT] = 1,
        lora: str | None = None,
        lora_weight: app_commands.Range[float, -2, 2] = 1.0,
    ) -> None:
        params = with_defaults(bot, interaction, {
            "prompt": prompt, "model": model, "aspect_ratio": size, "style_preset": style, "sampler": sampler,
            "num_inference_steps": steps, "seed": seed, "negative_prompt": negative, "enhance_prompt": enhance,
            "loras": [{"name": lora, "weight": lora_weight}] if lora else None,
        })  # fmt: skip
        await bot.artist.start(interaction, "txt2img", params, count=count)

"""A VAE in a file of its own, which takes the place of a checkpoint's."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import AutoencoderKL

from models.diffusion.failures import summary
from models.errors import ModelUnavailable


def load_vae(file: Path, replaced: AutoencoderKL, dtype: torch.dtype) -> AutoencoderKL:
    """Load a VAE onto the CPU; a file has weights alone, so that its configuration is that of the VAE that it replaces.

    Args:
        file: a ``.safetensors`` file in diffusers' layout or the original one.
        replaced: the VAE of the checkpoint: its scaling factor is that of the latents which the UNet was trained on.
        dtype: of its weights afterwards; float16, bfloat16 and float8 are widened or narrowed to it.

    Raises:
        ModelUnavailable: some weights are missing, or they are those of a VAE of another shape.
    """
    options = {"local_files_only": True, "dtype": dtype, "low_cpu_mem_usage": True}
    with TemporaryDirectory(prefix="photogram-") as folder:
        replaced.save_config(folder)
        try:
            vae: AutoencoderKL = AutoencoderKL.from_single_file(str(file), config=folder, **options)
        except NotImplementedError as error:  # from torch: tensors are still on the meta device
            raise ModelUnavailable(f"its VAE {file.name} lacks some weights") from error
        except (ValueError, KeyError) as error:  # from diffusers: other shapes, or names that it cannot convert
            raise ModelUnavailable(f"its VAE {file.name} is of another kind: {summary(error)}") from error
    return vae

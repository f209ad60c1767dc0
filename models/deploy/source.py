"""Which weights a package was made of."""

from __future__ import annotations

import hashlib

import torch

from models.diffusion.checkpoint import Checkpoint


def source_digest(checkpoint: Checkpoint) -> str:
    """The SHA-256 of all weights of ``checkpoint`` and their names; takes about a second for each GB."""
    digest = hashlib.sha256()
    for name, component in sorted(checkpoint.pipeline.components.items()):
        if isinstance(component, torch.nn.Module):
            for key, weights in component.state_dict().items():
                digest.update(f"{name} {key} {weights.dtype} {tuple(weights.shape)}".encode())
                digest.update(weights.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()

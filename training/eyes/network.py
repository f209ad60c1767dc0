"""The network: one of timm's small models, and the two projections that images and texts meet in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from models.vision.timm_import import import_timm

ARCHITECTURE, OPTIONS = "resnet10t", {"stem_width": 16, "channels": [32, 64, 128, 256]}
"""A ResNet of ten layers at half its width: of the small models, it learns the most in a minute on a CPU."""
INPUT_PX = 64
WIDTH = 128
"""The width of the embedding."""
MEAN = STD = 0.5
_SCALE_MAX = 60.0


class Eyes(nn.Module):
    """Classifies images, and compares them with pooled states of texts."""

    def __init__(self, classes: int, text_width: int) -> None:
        super().__init__()
        self.backbone = import_timm().create_model(ARCHITECTURE, num_classes=classes, **OPTIONS)
        self.image = nn.Linear(self.backbone.num_features, WIDTH, bias=False)
        self.text = nn.Linear(text_width, WIDTH, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, classes] and embeddings [B, WIDTH] of length 1 of ``images`` in 0..1."""
        vectors = self.backbone.forward_head(self.backbone.forward_features((images - MEAN) / STD), pre_logits=True)
        logits = self.backbone.get_classifier()(nn.functional.dropout(vectors, 0.1, self.training))
        return logits, normalize(self.image(vectors), dim=-1)

    def read(self, states: Tensor) -> Tensor:
        """Embeddings [T, WIDTH] of length 1 of pooled texts [T, 384]."""
        return normalize(self.text(states), dim=-1)

    def scale(self) -> Tensor:
        """What similarities are multiplied with."""
        return self.log_scale.exp().clamp(max=_SCALE_MAX)

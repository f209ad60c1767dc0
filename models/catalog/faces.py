"""The weights that face restoration needs, and the texts with which jobs on faces are refused."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from models.catalog.auxiliary import AuxiliaryModel

RESTORER, DETECTOR = "restorer", "detector"
"""The names in the catalog's table ``faces``."""

USUAL_WEIGHTS: Mapping[str, str] = MappingProxyType({
    RESTORER: "GFPGANv1.4.pth",
    DETECTOR: "face_detection_yunet_2023mar.onnx",
})  # fmt: skip
"""The published file that each of these names usually has."""

SWAP_REFUSAL = (
    "face swap is not available: Photogram does not implement it, because its usual weights, inswapper_128, are "
    "licensed for research only"
)


def restore_problem(faces: Mapping[str, AuxiliaryModel]) -> str | None:
    """Why faces cannot be restored with the weights that the catalog has; ``None`` if they can."""
    missing = [f"file in [faces.{name}] ({usual})" for name, usual in USUAL_WEIGHTS.items() if name not in faces]
    if not missing:
        return None
    return f"face restoration is not available: it needs weights; set {' and '.join(missing)}"

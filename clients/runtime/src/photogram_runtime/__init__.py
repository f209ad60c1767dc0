"""Draws, classifies and embeds with models that Photogram has deployed, without the service and without torch."""

from photogram_runtime.deployed import Deployed, load
from photogram_runtime.errors import (
    ComputationFailed,
    InvalidRequest,
    PackageDamaged,
    PackageError,
    PackageUnproven,
    PackageUnsupported,
)
from photogram_runtime.samplers import SAMPLERS
from photogram_runtime.seeing import Label

__all__ = [
    "SAMPLERS",
    "ComputationFailed",
    "Deployed",
    "InvalidRequest",
    "Label",
    "PackageDamaged",
    "PackageError",
    "PackageUnproven",
    "PackageUnsupported",
    "load",
]

"""Core ML, a recipe: an ML program of each part for Apple's devices, which no other system can run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import coremltools
from photogram_runtime.package import Package

from models.deploy.exporting import Exported, Unexportable, told
from models.deploy.proof import PartDifference


def build(exported: Exported, family: str, precision: str, folder: Path) -> str:
    """Write the ML program of a part.

    Raises:
        Unexportable: coremltools cannot convert the part.
    """
    place = folder / f"{exported.part.name}.mlpackage"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            converted: Any = coremltools.convert(
                exported.program.run_decompositions({}),
                minimum_deployment_target=coremltools.target.iOS18,
                compute_precision=coremltools.precision.FLOAT16,
                skip_model_load=True,
            )
        except Exception as error:  # its conversions raise whatever they raise
            raise Unexportable(told(exported.part, "Core ML", error)) from error
        converted.save(str(place))
    return f"{place.name}/Manifest.json"


def proof(exported: Exported, file: Path) -> PartDifference | None:
    """Core ML runs on macOS only, so that there is none."""
    return None


def readme(package: Package) -> str:
    """How an app opens the programs."""
    folders = ", ".join(part.file.partition("/")[0] for part in package.parts.values())
    return (
        f"{package.name} for Core ML (iOS 18, macOS 15) in float16: {folders}.\n"
        f"Converted by coremltools {package.manifest['requires']['coremltools']}; nothing was run.\n"
        "Compare with torch on a Mac before use: coremltools.models.MLModel(FOLDER).predict(INPUTS).\n"
    )

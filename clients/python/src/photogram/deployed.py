"""Models that `photogram deploy` has exported, run in this process: without a server and without torch.

    from photogram import deployed

    model = deployed.load("house-onnxruntime-f32")
    model.draw("a red apple", seed=1).save("apple.png")

It is the distribution `photogram-runtime`, the extra `deployed` of this one.
"""

try:
    from photogram_runtime import (
        ComputationFailed,
        Deployed,
        InvalidRequest,
        Label,
        PackageDamaged,
        PackageError,
        PackageUnproven,
        PackageUnsupported,
        load,
    )
except ImportError as error:
    raise ImportError(
        'photogram.deployed needs the distribution photogram-runtime: pip install "photogram[deployed]", '
        'or in a clone of the repository pip install "./clients/runtime[onnxruntime]"'
    ) from error

__all__ = [
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

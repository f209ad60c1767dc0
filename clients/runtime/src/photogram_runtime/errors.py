"""The errors of deployed packages, each with a sentence that says what is wrong and what to do."""

from __future__ import annotations


class PackageError(Exception):
    """A package cannot be used."""


class PackageDamaged(PackageError):
    """A file of the package is missing, is not what it was when the package was made, or cannot be read."""


class PackageUnsupported(PackageError):
    """The package is sound, but was made for another runtime, another version of it, another device or another use."""


class PackageUnproven(PackageError):
    """The package did not pass its own checks, and nobody said that it is to be used nevertheless."""


class ComputationFailed(PackageError):
    """The runtime could not run a graph of the package, or its result is of no use; for example, memory is short."""


class InvalidRequest(ValueError):
    """What is asked for cannot be done with this package; for example a size that its graphs do not take."""

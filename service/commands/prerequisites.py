"""What settings need of this machine: looked at before anything starts, as far as that takes no device and no model.

What only a worker can tell, such as how many GPUs torch sees, ends the worker, and ``photogram up`` with it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator

from models.errors import CatalogError
from models.jobs.kinds import KindModuleError, load_kinds
from service.backbone.catalog_file import CatalogFile
from service.backbone.configuration import Configuration
from service.backbone.settings import SettingsError


def require_all(configuration: Configuration) -> None:
    """Raise :class:`SettingsError` with everything that is missing, in one line."""
    problems = list(missing(configuration))
    if problems:
        raise SettingsError("; ".join(problems))


def missing(configuration: Configuration) -> Iterator[str]:
    """Each thing that the settings name and that is not there, or cannot be used, as a line that names the setting."""
    for check in _CHECKS:
        try:
            check(configuration)
        except (SettingsError, KindModuleError, CatalogError) as error:
            yield " ".join(str(error).split())


def _kinds(configuration: Configuration) -> None:
    load_kinds(configuration.settings.job_kinds)


def _folders(configuration: Configuration) -> None:
    for name in ("data", "cache"):
        path = getattr(configuration.settings, name)
        existing = next(each for each in (path, *path.parents) if os.path.lexists(each))
        if not existing.is_dir():
            raise configuration.error(name, f"cannot be used: {existing} is no folder")


def _catalog(configuration: Configuration) -> None:
    """The catalog must be valid, and have the model of the safety policy."""
    settings = configuration.settings
    catalog = CatalogFile(settings.catalog_path).current()
    if settings.safety_model is not None and catalog.vision.resolve(settings.safety_model) is None:
        reason = f"cannot be used: the catalog has no vision model {settings.safety_model!r}"
        raise configuration.error("safety_model", f"{reason}; photogram models add adds one")


def _safety_hook(configuration: Configuration) -> None:
    """Look for the module; the worker imports it, since what it imports may need much memory."""
    hook = configuration.settings.safety_hook
    if hook is None:
        return
    module = hook.partition(":")[0]
    try:
        is_there = importlib.util.find_spec(module) is not None
    except Exception:  # packages above the module are imported, and may raise anything
        is_there = False
    if not is_there:
        raise configuration.error("safety_hook", f"cannot be used: the module {module!r} cannot be imported")


def _signing(configuration: Configuration) -> None:
    settings = configuration.settings
    if settings.provenance_certificate is not None:
        from service.backbone.provenance import Signing  # the import takes half a second

        try:
            Signing(settings).open_at_start()
        except SettingsError as error:
            raise configuration.error("provenance_certificate", f"cannot be used: {error}") from error


_CHECKS: tuple[Callable[[Configuration], None], ...] = (_folders, _kinds, _catalog, _safety_hook, _signing)

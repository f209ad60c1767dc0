"""The traces of a model's parts, made once for all targets that can share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from models.deploy.exporting import Exported, Unexportable, trace
from models.deploy.parts import ModelPart
from models.deploy.recording import Call
from models.deploy.rewriters import Rewriter, rewriters_for


class Traces:
    """Traces each part when it is first wanted, once for all backends that have the same rewriters.

    Args:
        calls: of each part, by its name.
        scratch: a folder for what several targets read; it must exist as long as this is used.
    """

    def __init__(
        self, parts: Sequence[ModelPart], calls: Mapping[str, Sequence[Call]], family: str, scratch: Path
    ) -> None:
        self.parts = {each.name: each for each in parts}
        self.family = family
        self._calls, self._scratch = calls, scratch
        self._found: dict[tuple[str, tuple[Rewriter, ...]], Exported | Unexportable] = {}

    def of(self, name: str, backend: str) -> Exported:
        """The trace of the part ``name`` for ``backend``.

        Raises:
            Unexportable: as :func:`trace`; at once, if it was tried before.
        """
        key = name, rewriters_for(self.family, backend)
        if key not in self._found:
            self._found[key] = self._trace(name, backend)
        found = self._found[key]
        if isinstance(found, Unexportable):
            raise found
        return found

    def _trace(self, name: str, backend: str) -> Exported | Unexportable:
        try:
            return trace(self.parts[name], self._calls[name], self.family, backend, self._scratch)
        except Unexportable as error:
            return error

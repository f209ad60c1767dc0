"""What can be asked, drawn, seen and written: the models and the nouns of work.

Two packages that diffusers and transformers import wherever they are installed, although most processes never use
them, are kept out:

- torchvision, whose import takes seconds, and fails beside a torch of another build, is as if it were not installed
  until timm needs it: ``models.vision.timm_import`` lets it in;
- scipy.stats, whose import takes a second, is imported when something of it is used.
"""

import importlib
import sys
from types import ModuleType


class _ImportedWhenUsed(ModuleType):
    """Stands for a module until something of it is used."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # what is asked of every module that there is
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type]  # as if it were not installed
sys.modules.setdefault("scipy.stats", _ImportedWhenUsed("scipy.stats"))

"""A module of job kinds whose import fails."""

from __future__ import annotations

raise RuntimeError("this module is broken")

"""A module that registers a job kind whose function does not exist."""

from __future__ import annotations

from dataclasses import replace

from models.jobs.kinds import find_kind, register

register(replace(find_kind("txt2img"), name="toy", plan=None, function=f"{__name__}:no_such_function", queue="toys"))

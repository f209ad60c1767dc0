"""Values of flags that are checked as settings are: places of stored things, and anything that a setting may be."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from photogram_cli.texts import FileName

from service.backbone.setting_values import bucket, folder

Value = TypeVar("Value")


def checked(read: Callable[[str], Value]) -> Callable[[str], Value]:
    """``read`` for argparse, which then tells what is wrong in the words of its ``ValueError``."""

    def read_flag(text: str) -> Value:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read_flag


def place(text: str) -> str:
    """An absolute folder, or ``s3://bucket/prefix``; another URL is refused."""
    return checked(lambda value: bucket(value) if "://" in value else FileName(folder(value)))(text)

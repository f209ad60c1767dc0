"""The Discord bot of Photogram: commands and buttons that submit jobs, and messages that show their progress."""

from .bot import PhotogramBot
from .config import Config

__all__ = ["Config", "PhotogramBot"]

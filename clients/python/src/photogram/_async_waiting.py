"""How an asyncio client waits; `_waiting.py` has the same names for the blocking one."""

from asyncio import shield, sleep

__all__ = ["shield", "sleep"]

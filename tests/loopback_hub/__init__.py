"""A model hub and a Civitai on the loopback, which the real clients talk to: for tests, and for snippets in the docs.

``with serving_hub() as hub`` serves; ``hub.add("owner/name", folder)`` puts a diffusers folder into it, and the
environment of ``hub.environment(cache)`` points the hub's client at it.
"""

from tests.loopback_hub.hub import LoopbackHub, Repository, serving_hub

__all__ = ["LoopbackHub", "Repository", "serving_hub"]

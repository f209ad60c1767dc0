"""The tool server: a process of its own behind walls, whose tools work on the files of one agent job, over MCP.

It imports the standard library, Pillow, numpy, ``mcp`` with what that brings along (pydantic), ``models.media`` and
``models.errors``. Its tools run no jobs of the gateway: the process has no network.
"""

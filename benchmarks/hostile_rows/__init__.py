"""The attacks that ``benchmarks.hostile`` replays: one module ``row_<number>_<name>`` each.

A module has a function ``attack(target: Target) -> str`` that attacks the running service, returns once all that it
began is over, and says in a few words what came of it. Its first docstring line is the title of the row. It may have
``ENVIRONMENT``, further environment variables for ``photogram up``.
"""

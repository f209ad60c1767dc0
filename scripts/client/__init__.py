"""Writes the generated modules of the Python client: ``python -m scripts.client``, and a test that they are up to date.

The parameters of jobs come from the registry of job kinds, the blocking modules from the asyncio ones.
"""

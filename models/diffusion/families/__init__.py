"""Families of pipelines: the interface that the engine uses, and one module for each family."""

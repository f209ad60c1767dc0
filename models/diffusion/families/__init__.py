"""The families of pipelines: one file for what is particular to each, and how the engine comes by it."""

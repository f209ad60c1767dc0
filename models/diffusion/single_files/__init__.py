"""Checkpoints in a single file: which published architecture one has, and the configurations that it lacks."""

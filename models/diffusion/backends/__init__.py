"""Backends that run a UNet: torch, compiled torch, and runtimes for exported graphs."""

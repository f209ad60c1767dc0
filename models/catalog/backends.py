"""The names of the backends that can run a model's denoiser; the engine implements them."""

from __future__ import annotations

AUTO = "auto"
"""On a CPU the fastest installed backend that is exact, as measured; large models use OpenVINO without a measurement.
On a GPU torch, uncompiled."""
BACKENDS = ("eager", "compiled", "openvino", "openvino-bf16", "onnxruntime")
UNPROVED = "-unproved"
"""Ends the name of a deployed package that did not pass its checks, and is served because somebody forced it."""

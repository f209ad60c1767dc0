"""What may run a model's denoiser, by name; how each does it is the engine's matter."""

from __future__ import annotations

AUTO = "auto"
"""OpenVINO on a CPU where it is installed, else torch."""
BACKENDS = ("eager", "compiled", "openvino", "openvino-bf16", "onnxruntime")

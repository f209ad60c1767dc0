"""What may run a model's denoiser, by name; how each does it is the engine's matter."""

from __future__ import annotations

AUTO = "auto"
"""The fastest of those that are installed and exact, as it was measured; large models take OpenVINO unmeasured."""
BACKENDS = ("eager", "compiled", "openvino", "openvino-bf16", "onnxruntime")

"""The diffusion engine: step-level continuous batching of Stable Diffusion and SDXL pipelines on one device."""

"""The diffusion engine: step-level continuous batching of Stable Diffusion pipelines on one device."""

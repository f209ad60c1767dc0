"""The diffusion engine: step-level continuous batching of diffusers pipelines on one device."""

"""Routes that process images without a prompt: enlargement, face restoration, and reading of metadata."""

"""Image files: decoding, encoding and their metadata."""

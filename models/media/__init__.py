"""Images as files: decoding, encoding, and the metadata that they carry."""

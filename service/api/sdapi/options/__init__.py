"""The options of an API key: defaults for its later requests."""

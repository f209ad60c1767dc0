"""The progress of the requests of an API key, and how they are ended early."""

"""Reads and runs models that Photogram has deployed, without the service and without torch."""

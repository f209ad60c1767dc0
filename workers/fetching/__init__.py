"""Fetching images from URLs: connections, bodies, and how many jobs may wait for the network."""

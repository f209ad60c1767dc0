"""Fetching images from URLs: bodies, and how many jobs may wait for the network."""

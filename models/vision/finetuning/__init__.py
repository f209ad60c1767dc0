"""Gives a vision model a classifier of its own: from labelled images to a folder in timm's layout."""

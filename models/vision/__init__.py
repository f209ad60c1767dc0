"""Seeing with timm: models that classify, embed and compare images."""

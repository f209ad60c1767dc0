"""Exporting models to inference backends: record calls, export each part, prove it, package it, serve it."""

"""Connections of the gateway: limits and deadlines that uvicorn does not have."""

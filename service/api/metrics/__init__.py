"""Prometheus metrics: what the gateway counts about HTTP, and the routes that show its metrics and the workers'."""

from service.api.metrics.routes import router as router

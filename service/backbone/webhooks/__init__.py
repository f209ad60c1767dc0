"""Webhooks as they are stored: endpoints, signing secrets, and the outbox that the ledger scripts write."""

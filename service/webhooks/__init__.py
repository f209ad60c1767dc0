"""Sending webhooks: every gateway process has one sender, and all of them share the outbox in Redis."""

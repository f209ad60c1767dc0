"""What gateway and workers share: settings, keyspace, ledger, queue, stores and API keys."""

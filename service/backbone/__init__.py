"""What gateway and workers share: settings, ledger, queue, image store and API keys."""

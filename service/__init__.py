"""The gateway, what it shares with the workers, and the supervisor that starts them all."""

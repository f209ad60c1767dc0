"""What can run a UNet: torch as it is, torch compiled, and runtimes that take an exported graph."""

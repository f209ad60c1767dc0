"""What an agent job plans with: the plan and its changes, calls of tools, checks of what came of them, templates."""

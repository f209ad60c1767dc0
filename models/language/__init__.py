"""The language model: prompts rewritten, wishes turned into jobs by tool calls, and the engines that serve it."""

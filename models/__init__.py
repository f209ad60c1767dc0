"""What can be drawn and what came of it: nouns without torch, redis or a web framework, and the model packages below."""

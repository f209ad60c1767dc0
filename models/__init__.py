"""What can be drawn and what came of it: nouns free of torch, and the model packages."""

"""Planning by a language model: pydantic-ai over the language engine, with every request a recorded step."""

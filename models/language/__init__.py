"""The language model: rewriting prompts, tool calling, and clients and servers of language models."""

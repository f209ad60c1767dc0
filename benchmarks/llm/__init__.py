"""Benchmarks of the language engine and of prompt rewriting: ``python -m benchmarks.llm``."""

"""The language engine, and what rewriting costs and gives; ``python -m benchmarks.llm`` runs it all."""

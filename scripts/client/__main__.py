"""``python -m scripts.client`` writes the generated modules."""

from __future__ import annotations

from scripts.client.generated import generated_modules

for path, text in generated_modules().items():
    path.write_text(text, encoding="utf-8")

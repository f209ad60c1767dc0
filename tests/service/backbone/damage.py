"""Fields that make a record unreadable, as faulty functions and other versions of a kind have left them."""

from __future__ import annotations

UNREADABLE = [
    ("step", "0.5"),
    ("status", "unheard_of"),
    ("params", "{}"),
    ("params", "not JSON"),
    ("requested", "[]"),
    ("files", '[{"file_id": "x", "name": null, "media_type": null, "size_bytes": 1}]'),
    ("files", '[{"file_id": "x", "name": "\\ud800", "media_type": "a/b", "size_bytes": 1}]'),
    ("files", "[null]"),
    ("images", '[{"image_id": "x", "width": null, "height": 1}]'),
    ("document", "[" * 500 + "]" * 500),
    ("document", "[" * 100_000 + "]" * 100_000),
    ("timings", '{"run_s": null}'),
    ("created_at", "nan"),
    ("started_at", "1e300"),
    ("error_message", b"\xff"),
]

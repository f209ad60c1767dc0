"""The client of the module's own functions, such as `photogram.generate`: made from the environment when it is used."""

import threading

from ._client import Photogram

SHARED = (
    "agent", "assist", "capabilities", "classify", "delete_image", "deploy", "describe_model", "download",
    "download_file", "download_image", "dry_run", "dry_run_kind", "duplicate_images", "edit", "embed", "face_restore",
    "finetune",
    "generate", "images", "inpaint", "jobs", "keys", "loras", "models", "readiness", "rewrite", "samplers",
    "search_images", "server_info", "similarity", "stream_rewrite", "styles", "submit", "submit_batch",
    "submit_kind", "upload", "upload_archive", "upscale", "upscalers", "usage", "verify_provenance", "with_options",
)  # fmt: skip
"""The methods and attributes of a client that the module has too."""

_lock = threading.Lock()
_client: Photogram | None = None


def default_client() -> Photogram:
    """The client for `PHOTOGRAM_URL` and `PHOTOGRAM_API_KEY` as they were at the first use; raises ValueError."""
    global _client
    with _lock:
        if _client is None:
            _client = Photogram()
        return _client

"""What a worker says of a model that cannot be loaded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis import Redis

from service.backbone.catalog_file import CatalogFile
from service.backbone.keyspace import MODEL_PROBLEMS_KEY
from service.backbone.ledger import Ledger
from service.backbone.settings import Settings
from workers.diffusion import open_diffusion


def test_the_error_names_the_command_that_says_more(
    redis: Redis, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    entry = '[models."my broken"]\nfamily = "stable-diffusion"\nfolder = "nowhere"\n'
    settings.catalog_path.write_text(f'default = "my broken"\n{entry}')
    executor = open_diffusion(
        replace(settings, device="cpu"), CatalogFile(settings.catalog_path), Ledger(redis, record_ttl_s=60)
    )
    try:
        executor.load_default()
    finally:
        executor.close()
    noted = redis.hget(MODEL_PROBLEMS_KEY, "my broken")
    assert noted is not None and noted.endswith(b"; photogram models check 'my broken' says more")
    assert "photogram models check 'my broken' says more" in caplog.text
